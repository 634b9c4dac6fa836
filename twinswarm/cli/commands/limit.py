"""``twinswarm limit``: a limit from outside, with its heartbeat, by hand."""

import re
import threading
from datetime import UTC, datetime
from typing import Annotated

import typer

from schemas.errors import Code, InputError
from schemas.site import SERVICES, Site
from schemas.topics import DEVICE_PATTERN
from twinswarm.cli import options
from twinswarm.deploy.process import Life, serve, stop_event

_POWER = re.compile(r"(?P<number>\d+(?:\.\d+)?)\s*(?P<unit>w|kw|mw)")
_PER_KW = {"w": 1e-3, "kw": 1.0, "mw": 1e3}
_LIMIT, _TIME = "Limit", "Time"


def limit(
    site: Annotated[str, typer.Argument(metavar="SITE", help="Site description: a file, or a site in the box.")],
    import_: Annotated[
        str | None,
        typer.Option(
            "--import", metavar="POWER", help="Most power that may be imported: 20kW.", rich_help_panel=_LIMIT
        ),
    ] = None,
    export: Annotated[
        str | None,
        typer.Option("--export", metavar="POWER", help="Most power that may be exported: 0kW.", rich_help_panel=_LIMIT),
    ] = None,
    group: Annotated[
        str | None,
        typer.Option(
            "--group",
            metavar="NAME",
            help="A named group of ems.cable_limits, limited in place of the PCC.",
            show_default="the PCC",
            rich_help_panel=_LIMIT,
        ),
    ] = None,
    source: Annotated[
        str, typer.Option("--source", metavar="TEXT", help="Name of whoever demands the limit.", rich_help_panel=_LIMIT)
    ] = "operator, by hand",
    clear: Annotated[
        bool, typer.Option("--clear", help="Withdraw the limit of this sender, and exit.", rich_help_panel=_LIMIT)
    ] = False,
    length: Annotated[
        str | None,
        typer.Option(
            "--for",
            metavar="DURATION",
            help="How long it is valid: 90min, 1h, 2d.",
            show_default="until it is withdrawn",
            rich_help_panel=_TIME,
        ),
    ] = None,
    begins: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="TIME",
            help="Begin, in the time of the run: 2024-05-17T10:00+02:00.",
            show_default="at once",
            rich_help_panel=_TIME,
        ),
    ] = None,
    beat: Annotated[
        float,
        typer.Option(
            "--beat",
            metavar="SECONDS",
            help="Period of the heartbeat. 0: no heartbeat; the limit then holds after this command has ended.",
            rich_help_panel=_TIME,
        ),
    ] = 60.0,
    failsafe_import: Annotated[
        str | None,
        typer.Option(
            "--failsafe-import",
            metavar="POWER",
            help="Limit in place of --import after two periods without a heartbeat.",
            show_default="--import stays in force",
            rich_help_panel=_LIMIT,
        ),
    ] = None,
    failsafe_export: Annotated[
        str | None,
        typer.Option(
            "--failsafe-export",
            metavar="POWER",
            help="Limit in place of --export after two periods without a heartbeat.",
            show_default="--export stays in force",
            rich_help_panel=_LIMIT,
        ),
    ] = None,
    sender: Annotated[
        str, typer.Option("--as", metavar="NAME", help="Identifier of the sender.", rich_help_panel="Broker")
    ] = "limiter",
    broker: options.BrokerOption = options.BROKER,
    cafile: options.CafileOption = None,
    cert: options.CertOption = None,
    key: options.KeyOption = None,
    username: options.UsernameOption = None,
    password_file: options.PasswordFileOption = None,
    heartbeat: options.HeartbeatOption = None,
) -> None:
    """Set a **limit from outside** on a running site: the most power that may be imported or exported.

    The command takes the part of a grid operator's control box, an OpenADR client or a relay. The EMS keeps to the
    limit from its next plan on, and so do devices on their fallback. The command repeats the limit as a heartbeat, and
    exits when the limit ends. If it is stopped earlier, the limit stays, and after two periods the failsafe holds.
    With --group the limit is for a named group of devices instead of the PCC.

    Examples:
        twinswarm limit fit_g2v --import 20kW --for 1h --source "grid operator"
        twinswarm limit fit_g2v --export 0kW --failsafe-export 10kW --beat 10
        twinswarm limit mysite --group car-park --import 22kW
        twinswarm limit fit_g2v --clear
    """
    from services.limiter.limiter import Demand, Limiter
    from twinswarm.simulation.runs import parse_duration

    chosen = options.resolved_site(site)
    _check_sender(sender, chosen)
    _check_group(group, chosen)
    powers = {
        "--import": import_,
        "--export": export,
        "--failsafe-import": failsafe_import,
        "--failsafe-export": failsafe_export,
    }
    if clear:
        options.refuse_beside("--clear", {**powers, "--for": length, "--from": begins})
    elif all(power is None for power in powers.values()):
        raise InputError.one("twinswarm limit", "at least --import or --export is to be given", code=Code.MISSING)
    if not 0 <= beat <= 86_400:
        raise InputError.one("--beat", "0 (no heartbeat) to 86400 seconds", beat, code=Code.RANGE)
    if not beat and not clear and (failsafe_import or failsafe_export):
        option = "--failsafe-import" if failsafe_import else "--failsafe-export"
        raise InputError.one(option, "a failsafe needs a heartbeat, so --beat above 0", code=Code.CONFLICT)
    if not 1 <= len(source) <= 100:
        raise InputError.one("--source", "1 to 100 characters", source, code=Code.RANGE)
    import_kw, export_kw, failsafe_import_kw, failsafe_export_kw = (
        None if text is None else parse_power_kw(option, text) for option, text in powers.items()
    )
    demand = Demand(
        source=source,
        import_kw=import_kw,
        export_kw=export_kw,
        group=group,
        begins=None if begins is None else _time(begins),
        length=None if length is None else parse_duration(length),
        heartbeat_s=None if clear else beat or None,
        failsafe_import_kw=failsafe_import_kw,
        failsafe_export_kw=failsafe_export_kw,
    )
    connection = options.connection(broker, cafile, cert, key, username, password_file)
    life = Life(heartbeat=heartbeat)
    stop: threading.Event = stop_event(life)

    def make() -> Limiter:
        return Limiter(chosen.site, sender, demand, stop.set)

    serve(make, chosen, sender, connection, None, life, stop)


def parse_power_kw(option: str, text: str) -> float:
    """``20kW``, ``4200W``, ``0.5MW`` in kW. Raises InputError."""
    match = _POWER.fullmatch(text.strip().lower())
    if match is None:
        raise InputError.one(
            option, "a power is a number with its unit, and not negative: 20kW, 4200W", text, code=Code.FORMAT
        )
    power = float(match["number"]) * _PER_KW[match["unit"]]
    if power > 1e6:
        raise InputError.one(option, "a power is at most 1000000 kW", text, code=Code.RANGE)
    return power


def _time(text: str) -> datetime:
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise InputError.one("--from", "a time is written 2024-05-17T10:00+02:00", text, code=Code.FORMAT) from None
    if time.tzinfo is None:
        raise InputError.one("--from", "a time carries its zone: 2024-05-17T10:00+02:00", text, code=Code.FORMAT)
    return time.astimezone(UTC)


def _check_sender(sender: str, site: Site) -> None:
    if not re.fullmatch(DEVICE_PATTERN, sender):
        raise InputError.one("--as", f"an identifier is {DEVICE_PATTERN}", sender, code=Code.FORMAT)
    if sender in site.devices or sender in site.limits or sender in SERVICES:
        raise InputError.one("--as", f"the site {site.site} has a participant of this name", sender, code=Code.RESERVED)


def _check_group(group: str | None, site: Site) -> None:
    names = [each.name for each in site.ems.cable_limits if each.name is not None]
    if group is not None and group not in names:
        there_are = f"it has {', '.join(names)}" if names else "it names none"
        raise InputError.one("--group", f"not a group of {site.site}; {there_are}", group, code=Code.UNKNOWN)


__all__ = ["limit", "parse_power_kw"]
