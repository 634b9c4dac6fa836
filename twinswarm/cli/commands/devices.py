"""``devices``: the participants on a broker."""

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from schemas.topics import everything
from twinswarm.cli import options
from twinswarm.cli.observing import ObservedSiteOption, observed, observer
from twinswarm.cli.output import Output, busy

if TYPE_CHECKING:
    from rich.console import Console

    from services.monitor.discovery import Roster, Seen


def devices(
    broker: options.BrokerOption = options.BROKER,
    site: ObservedSiteOption = None,
    wait: Annotated[
        float,
        typer.Option(
            "--wait", metavar="SECONDS", min=0.1, max=3600, help="How long to listen.", rich_help_panel="Broker"
        ),
    ] = 2.0,
    json: options.JsonOption = None,
    cafile: options.CafileOption = None,
    cert: options.CertOption = None,
    key: options.KeyOption = None,
    username: options.UsernameOption = None,
    password_file: options.PasswordFileOption = None,
) -> None:
    """Show the participants on a broker: **births, states, power, age of the last message, and what the EMS knows**.

    The column *EMS* is of its newest plan, in wall time: the age of what it had received of a device, in run time,
    and whether the device is in the plan or why not. A device whose clock is wrong says so below its state, and so
    does one whose messages are *not kept*: in wall time, it does not store them until the recorder has them.

    It only listens; it publishes nothing. Ages are in seconds of the machine's clock. The age of a retained message
    follows from its time stamp. In lock-step that is simulated time, so there the age is a dash.

    Examples:
        twinswarm devices  all sites on the broker of a running `up`, else on mqtt://127.0.0.1:1883
        twinswarm devices --broker mqtts://broker:8883 --cafile ca.pem --site fit-g2v --wait 30
    """
    from services.monitor.discovery import listen

    output = Output.to(json)
    wanted, named = observed(site)
    connection = options.connection(broker, cafile, cert, key, username, password_file, named)
    transport = observer(connection, wanted, "devices")
    try:
        transport.connect([everything(wanted)])
        with busy(output.console, f"listening for {wait:g} s …"):
            roster = listen(transport, wait, time.monotonic, lambda: datetime.now(UTC))
    finally:
        transport.close()
    now = datetime.now(UTC)
    output.write({"broker": str(connection.address), "waited_s": wait, **roster.json(now)})
    _show(roster, now, str(connection.address), output.console)


def _show(roster: "Roster", now: datetime, address: str, console: "Console") -> None:
    from rich.table import Table

    for site, (run_id, run) in sorted(roster.runs.items()):
        state = f"ended {run.ended:%Y-%m-%d %H:%M:%S} UTC" if run.ended else "in progress"
        line = f"{site}: run {run_id}, {run.mode}, {'simulated' if run.simulated else 'real'}, {state}"
        console.print(line, markup=False, soft_wrap=True)
    everybody = list(roster)
    if not everybody:
        console.print(f"no participant was found on {address}", markup=False, soft_wrap=True)
        return
    table = Table(title=f"On {address}", title_style="bold", title_justify="left")
    several = len({seen.site for seen in everybody}) > 1
    heads = (("site",) if several else ()) + (
        "device",
        "kind",
        "state",
        "time modes",
        "nameplate",
        "power, SOC",
        "EMS",
        "last message",
        "boot",
    )
    for head in heads:
        table.add_column(head, overflow="fold")
    for seen in everybody:
        row = _row(seen, roster, now)
        table.add_row(*((seen.site, *row) if several else row))
    console.print(table)
    for (site, sender, code, _), alarm in roster.alarms.items():
        line = f"alarm {code} of {sender}: {f'{site}: ' if several else ''}{alarm.text}"
        console.print(line, style="red", markup=False, soft_wrap=True)
    for site, text in roster.doubts():
        line = f"implausible, and not acted on: {f'{site}: ' if several else ''}{text}"
        console.print(line, style="yellow", markup=False, soft_wrap=True)
    if roster.rejected:
        console.print(f"Messages that are not of the contract: {roster.rejected}", style="yellow")


def _row(seen: "Seen", roster: "Roster", now: datetime) -> tuple[str, ...]:
    from rich.markup import escape

    birth, age_s = seen.birth, roster.age_s(seen, now)
    state = "\N{EN DASH}" if seen.state is None else str(seen.state.state)
    colour = {"online": "green", "fault": "red"}.get(state, "dim")
    behind_s = roster.clock_behind_s(seen)
    notes = [] if seen.state is None or not seen.state.reason else [escape(seen.state.reason)]
    if behind_s is not None:
        notes.append(f"[red]clock {_spoken(abs(behind_s))} {'behind' if behind_s > 0 else 'ahead'}[/]")
    if roster.is_kept(seen) is False:
        notes.append("[dim]not kept[/]")
    age = "\N{EN DASH}" if age_s is None else f"{_spoken(age_s)} ago"
    return (
        seen.device,
        str(seen.kind),
        "\n".join([f"[{colour}]{state}[/]", *notes]),
        "\N{EN DASH}" if birth is None else " ".join(birth.time_modes),
        "no birth" if birth is None else birth.nameplate.text,
        _measured(seen, roster),
        _of_the_ems(seen, roster),
        age if seen.channel is None else f"{seen.channel}, {age}",
        "\N{EN DASH}" if seen.stamp is None else escape(seen.stamp.boot),
    )


def _measured(seen: "Seen", roster: "Roster") -> str:
    """Newest power and SOC: as heard, else as the EMS has said."""
    known = roster.known(seen)
    power_kw = known.power_kw if seen.power_kw is None and known is not None else seen.power_kw
    soc_frac = known.soc_frac if seen.soc_frac is None and known is not None else seen.soc_frac
    parts = [] if power_kw is None else [f"{power_kw:.2f} kW"]
    if soc_frac is not None:
        parts.append(f"{100 * soc_frac:.1f} %")
    return ", ".join(parts) or "\N{EN DASH}"


def _of_the_ems(seen: "Seen", roster: "Roster") -> str:
    from rich.markup import escape

    known = roster.known(seen)
    if known is None:
        return "\N{EN DASH}"
    age = "" if known.age_s is None else f", {_spoken(known.age_s)} old"
    if known.in_plan and known.bounded is not None:
        return f"in the plan{age}, [yellow]{escape(known.bounded)}[/]"
    return f"in the plan{age}" if known.in_plan else f"[yellow]not in the plan[/]: {escape(known.why_not or '')}"


def _spoken(seconds: float) -> str:
    for unit, length in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.1f} s"
