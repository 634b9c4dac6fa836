"""The compose file of a site: a template, and what in it follows from the site."""

from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256

from jinja2 import Environment, PackageLoader, StrictUndefined

from schemas.errors import Code, Fault, InputError
from schemas.site import NETWORK, SERVICES, Site
from schemas.topics import HOME_ASSISTANT
from twinswarm.deploy.stack import accounts
from twinswarm.deploy.stack.live import live_services
from twinswarm.deploy.stack.secrets import volumes
from twinswarm.simulation.compose import members

SITE_FILE = "/etc/twinswarm/site.json"
"""Where containers find a site that is not in the image as it is."""

MARK = "# Written by `twinswarm compose "
"""Begins the line that tells a file of ours."""
_OTHER_SERVICES = frozenset(
    {"provision", "mosquitto", "influxdb", "init-history", "forward", "savings", "grafana"}
    | {f"{service}-live" for service in ("ems", "clock", "forecast", "tariff")}
)
_WORDS_OF_YAML = frozenset({"null", "true", "false", "yes", "no", "on", "off", "y", "n"})


@dataclass(frozen=True)
class StackOrder:
    """Which stack is wanted."""

    site: Site
    """The resolved site that all containers share."""
    given: str
    """How the command was called: a file or a name in the box, and the options of a variant."""
    in_the_image: str | None
    """Name of the site if the image has it as it is; otherwise containers read it from a file."""

    @property
    def site_argument(self) -> str:
        return SITE_FILE if self.in_the_image is None else self.in_the_image

    @property
    def site_file(self) -> str | None:
        """Name of the file with the site, beside the compose file; None: the image has it."""
        return f"{self.site.site}.site.json" if self.in_the_image is None else None

    @cached_property
    def site_text(self) -> str:
        """What is in that file."""
        return self.site.model_dump_json(indent=1) + "\n"

    @property
    def site_digest(self) -> str:
        """Compose makes a container anew where its description changes, which a mounted file is no part of."""
        return sha256(self.site_text.encode()).hexdigest()[:16]


def compose_file(order: StackOrder) -> str:
    """The text of compose.yaml.

    Raises InputError for a device or a source of limits that is called as a service of the stack is or as none may be.
    """
    live = live_services(order.site)
    reserved = _OTHER_SERVICES | {one.name for one in live if one.name not in order.site.limits}
    named = [
        *((f"devices.{name}", name) for name in order.site.devices),
        *((f"limits.{name}", name) for name in order.site.limits),
    ]
    faults = [
        Fault(where, "the stack has a service of this name", name, code=Code.RESERVED)
        for where, name in sorted(named)
        if name in reserved
    ]
    faults += [
        Fault(where, "a service of Compose begins with a letter or a digit", name, code=Code.FORMAT)
        for where, name in named
        if name.startswith("-")
    ]
    if faults:
        raise InputError(faults)
    everybody = members(order.site)
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
        site_digest=order.site_digest,
        mark=f"{MARK}{order.given}`",
        twins=[name for name in everybody if name not in SERVICES],
        members=everybody,
        consumers=sorted(volumes(order.site)),
        live=live,
        in_live={one.identity for one in live},
        persons=order.site.ems.requests is not None,
        home_assistant=HOME_ASSISTANT,
        accounts=accounts,
        network_twin=NETWORK,
    )


def _key(name: str) -> str:
    """The name as a key of YAML: in quotes where it might be read as a number, a date, a truth value or nothing."""
    return name if name[0].isalpha() and name not in _WORDS_OF_YAML else f'"{name}"'
