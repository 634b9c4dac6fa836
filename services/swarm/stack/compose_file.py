"""The compose file of a site: a template, and what in it follows from the site."""

from dataclasses import dataclass

from jinja2 import Environment, PackageLoader, StrictUndefined

from schemas.errors import Fault, InputError
from schemas.site import FEEDER, SERVICES, Site
from services.swarm.compose import members
from services.swarm.variants import Reference, StorageChoice, with_case, with_storage

SITE_FILE = "/etc/twinswarm/site.json"
"""Where containers find the description of a site that is not in the box."""

_OF_THE_HISTORY = ("influxdb", "init-history", "forward", "savings", "grafana")
_OTHER_SERVICES = frozenset({*_OF_THE_HISTORY, "provision", "mosquitto", "ems-live", "clock-live"})


@dataclass(frozen=True)
class StackOrder:
    """Which stack is wanted."""

    site: Site
    builtin: str | None
    """The site's name in the box; None: containers are given its description as a file."""
    case: str | None = None
    storage: StorageChoice = StorageChoice.BOTH
    reference: Reference = Reference.SMART

    @property
    def taking_part(self) -> Site:
        """Raises InputError for a case that the site does not have."""
        site = self.site if self.case is None else with_case(self.site, self.case)
        return with_storage(site, self.storage, self.reference)

    @property
    def site_argument(self) -> str:
        return self.builtin or SITE_FILE

    @property
    def variant_options(self) -> str:
        """Of the commands that take a variant of a site; what is their default is left out."""
        given = {
            "--site": self.site_argument,
            "--case": self.case,
            "--storage": None if self.storage is StorageChoice.BOTH else self.storage,
            "--reference": None if self.reference is Reference.SMART else self.reference,
        }
        return " ".join(f"{option} {value}" for option, value in given.items() if value is not None)


def compose_file(order: StackOrder, command: str, site_file: str | None = None) -> str:
    """The text of compose.yaml. ``command``: what made it; ``site_file``: the name of the description beside it.

    Raises InputError for a device that is called like a service of the stack, and for an unknown case.
    """
    if taken := sorted(_OTHER_SERVICES & set(order.site.devices)):
        raise InputError([Fault(f"devices.{name}", "the stack has a service of this name", name) for name in taken])
    everybody = members(order.taking_part)
    environment = Environment(
        loader=PackageLoader("services.swarm.stack", "templates"),
        autoescape=False,  # noqa: S701  it is YAML; what is filled in are identifiers of a-z 0-9 - and words of ours
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template("compose.yaml.j2").render(
        site=order.site,
        site_argument=order.site_argument,
        site_file=site_file,
        variant_options=order.variant_options,
        command=command,
        twins=[name for name in everybody if name not in SERVICES],
        members=everybody,
        # All of the site's devices: each gets its certificate, whoever of them takes part.
        consumers=(*sorted({*order.site.devices, FEEDER, *SERVICES}), *_OF_THE_HISTORY),
        network_twin=FEEDER,
    )
