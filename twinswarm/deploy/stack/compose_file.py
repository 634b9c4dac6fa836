"""The compose file of a site: a template, and what in it follows from the site."""

from dataclasses import dataclass

from jinja2 import Environment, PackageLoader, StrictUndefined

from schemas.errors import Fault, InputError
from schemas.site import NETWORK, SERVICES, Site
from twinswarm.deploy.stack import accounts
from twinswarm.deploy.stack.secrets import volumes
from twinswarm.simulation.compose import members
from twinswarm.simulation.variants import Reference, StorageChoice, with_case, with_storage

SITE_FILE = "/etc/twinswarm/site.json"
"""Where containers find the description of a site that is not in the box."""

MARK = "# Written by `twinswarm compose "
"""Begins the line that tells a file of ours."""
_OTHER_SERVICES = frozenset(
    {"provision", "mosquitto", "influxdb", "init-history", "forward", "savings", "grafana", "ems-live", "clock-live"}
)
_WORDS_OF_YAML = frozenset({"null", "true", "false", "yes", "no", "on", "off", "y", "n"})


@dataclass(frozen=True)
class StackOrder:
    """Which stack is wanted."""

    site: Site
    given: str
    """How the site was called: a file, or a name in the box."""
    in_the_box: bool
    """Then the image has it; otherwise containers read its description from a file."""
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
        return self.given if self.in_the_box else SITE_FILE

    @property
    def variant(self) -> str:
        """Options of the commands that take a variant of a site; what is their default is left out."""
        given = {
            "--case": self.case,
            "--storage": None if self.storage is StorageChoice.BOTH else self.storage,
            "--reference": None if self.reference is Reference.SMART else self.reference,
        }
        return "".join(f" {option} {value}" for option, value in given.items() if value is not None)

    @property
    def site_file(self) -> str | None:
        """Name of the file with the description, beside the compose file; None: the image has it."""
        return None if self.in_the_box else f"{self.site.site}.site.json"


def compose_file(order: StackOrder) -> str:
    """The text of compose.yaml.

    Raises InputError for a device that is called as a service of the stack is or as none may be, and for an unknown
    case.
    """
    faults = [
        Fault(f"devices.{name}", "the stack has a service of this name", name)
        for name in sorted(_OTHER_SERVICES & set(order.site.devices))
    ]
    faults += [
        Fault(f"devices.{name}", "a service of Compose begins with a letter or a digit", name)
        for name in order.site.devices
        if name.startswith("-")
    ]
    if faults:
        raise InputError(faults)
    everybody = members(order.taking_part)
    environment = Environment(
        loader=PackageLoader("twinswarm.deploy.stack", "templates"),
        autoescape=False,  # noqa: S701  it is YAML; what is filled in are identifiers of a-z 0-9 - and words of ours
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["key"] = _key
    return environment.get_template("compose.yaml.j2").render(
        site=order.site,
        site_argument=order.site_argument,
        site_file=order.site_file,
        variant=order.variant,
        mark=f"{MARK}{order.given}{order.variant}`",
        twins=[name for name in everybody if name not in SERVICES],
        members=everybody,
        # All of the site's devices have a certificate, whoever of them takes part.
        consumers=sorted(volumes(order.site)),
        accounts=accounts,
        network_twin=NETWORK,
    )


def _key(name: str) -> str:
    """The name as a key of YAML: in quotes where it might be read as a number, a date, a truth value or nothing."""
    return name if name[0].isalpha() and name not in _WORDS_OF_YAML else f'"{name}"'
