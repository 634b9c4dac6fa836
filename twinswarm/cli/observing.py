"""How commands that only look reach a broker: an observer's connection, and the sites that it looks at."""

import logging
import re
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from schemas.topics import OBSERVER, SITE_PATTERN, client_id

if TYPE_CHECKING:
    from broker.mqtt import MqttTransport
    from twinswarm.deploy.process import Connection

ObservedSiteOption = Annotated[
    str | None,
    typer.Option(
        "--site",
        metavar="ID|FILE",
        help="A site by its identifier, such as fit-g2v, or by its description: a file, or a folder with site.yaml.",
        show_default="all sites",
        rich_help_panel="Site",
    ),
]


def site_id(text: str) -> str:
    """The identifier of ``--site``: as it is, or of a description, also of a folder named alike. Raises InputError."""
    from sites.loader import builtin_sites, load_site

    described = text in builtin_sites() or (Path(text) / "site.yaml").is_file()
    if re.fullmatch(SITE_PATTERN, text) and not described:
        return text
    return load_site(text).site


def observed(site: str | None) -> tuple[str, str | None]:
    """The site as a level of an MQTT filter, and its identifier, None for all sites."""
    named = None if site is None else site_id(site)
    return named or "+", named


def observer(connection: "Connection", wanted: str, what: str) -> "MqttTransport":
    """A client that only listens, under a name of its own. ``what`` is the command. It is not connected yet."""
    from broker.mqtt import MqttTransport

    name = client_id(OBSERVER if wanted == "+" else wanted, f"{what}-{secrets.token_hex(3)}")
    logging.getLogger(MqttTransport.__module__).addHandler(logging.NullHandler())  # what it warns of is raised, too
    return MqttTransport(connection.address, name, connection.credentials)
