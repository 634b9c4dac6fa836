"""``homeassistant``: announces the devices of a site to Home Assistant."""

import itertools
import secrets
import time
from typing import Annotated

import typer

from schemas.errors import Code, InputError
from schemas.topics import HOME_ASSISTANT, client_id
from twinswarm.cli import options
from twinswarm.cli.observing import site_id


def homeassistant(
    site: Annotated[
        str, typer.Argument(metavar="SITE", help="The site's identifier, such as fit-g2v, or a description.")
    ],
    prefix: Annotated[
        str,
        typer.Option("--prefix", metavar="TOPIC", help="Home Assistant's discovery prefix.", rich_help_panel="Broker"),
    ] = "homeassistant",
    remove: Annotated[
        bool,
        typer.Option("--remove", help="Take the site away from Home Assistant, with what persons set there, and end."),
    ] = False,
    commands: Annotated[
        bool,
        typer.Option(
            "--commands",
            help="Let persons set set-points and standby there. SITE is then a description with ems.requests.",
        ),
    ] = False,
    broker: options.BrokerOption = options.BROKER,
    cafile: options.CafileOption = None,
    cert: options.CertOption = None,
    key: options.KeyOption = None,
    username: options.UsernameOption = None,
    password_file: options.PasswordFileOption = None,
    heartbeat: options.HeartbeatOption = None,
) -> None:
    """Announce the devices of a site to **Home Assistant**, on the same broker, until it is stopped.

    Home Assistant (2024.11 or later) shows them with power, energy, SOC and whether they are there. It only shows,
    unless --commands lets persons set set-points, too: the EMS decides again after `ems.requests.most_h`, and when Home
    Assistant or this command ends. A device whose birth is withdrawn disappears. What is announced stays.

    Examples:
        twinswarm homeassistant fit-g2v --broker mqtt://127.0.0.1:1883
        twinswarm homeassistant mysite --commands
        twinswarm homeassistant fit-g2v --remove
    """
    from broker.heartbeat import Heartbeat
    from broker.mqtt import MqttTransport
    from services.homeassistant.announcer import Announcer
    from services.homeassistant.panel import Panel
    from services.homeassistant.removal import remove_site
    from twinswarm.deploy.process import Life, stop_event, utc_now

    if not prefix or any(sign in prefix for sign in "+#") or prefix.startswith(("/", "$", "twin/")):
        raise InputError.one("--prefix", "a topic without + and #, outside twin/, is allowed", prefix, code=Code.FORMAT)
    named = site_id(site)
    panel = Panel(named, _most_h(site)) if commands and not remove else None
    connection = options.connection(broker, cafile, cert, key, username, password_file, named)
    transport = MqttTransport(
        connection.address, client_id(named, HOME_ASSISTANT), connection.credentials, heartbeat=Heartbeat(heartbeat)
    )
    boot = secrets.token_hex(6)
    lives = (f"{boot}-{number}" for number in itertools.count(1))
    try:
        if remove:
            gone = remove_site(named, transport, prefix, time.monotonic)
            typer.echo(f"{gone.devices} devices of {named} taken away, and {gone.states} states of what was set")
            return
        announcer = Announcer(named, transport, prefix, panel=panel, now=utc_now, new_boot=lambda: next(lives))
        announcer.connect()
        announcer.serve(stop_event(Life()).is_set, time.monotonic)
    finally:
        transport.close()


def _most_h(site: str) -> float:
    """So long a set-point by hand may last at this site [h]. Raises InputError for one that takes none."""
    requests = options.resolved_site(site).ems.requests
    if requests is None:
        what = "is missing: the EMS takes no set-points by hand; see docs/homeassistant.md"
        raise InputError.one("ems.requests", what, code=Code.MISSING)
    return requests.most_h
