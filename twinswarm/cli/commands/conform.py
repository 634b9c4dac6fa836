"""``conform``: examines one device by the contract, clause by clause."""

import secrets
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from schemas.errors import Code, InputError
from twinswarm.cli import options
from twinswarm.cli.observing import site_id
from twinswarm.cli.output import Output

if TYPE_CHECKING:
    from rich.console import Console

    from schemas.topics import Kind
    from services.conformance.verdicts import Verdicts

_HOW, _TIME = "How it is examined", "When"
SEEDS = 2**31


def conform(
    site: Annotated[
        str, typer.Argument(metavar="SITE", help="The site's identifier, such as fit-g2v, or a description.")
    ],
    device: Annotated[str, typer.Option("--device", metavar="NAME", help="The device to examine, such as ev1.")],
    through: Annotated[
        int | None,
        typer.Option(
            "--through",
            metavar="PORT",
            min=0,
            max=65535,
            help="Listen on 127.0.0.1:PORT and pass what comes on to the broker. The device connects there instead; so "
            "its connection can be cut.",
            show_default="broken connections are not examined",
            rich_help_panel=_HOW,
        ),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(
            "--seed",
            min=0,
            max=SEEDS,
            help="Repeats the random set-points of an examination.",
            rich_help_panel=_HOW,
            show_default="a new one, which is printed",
        ),
    ] = None,
    count: Annotated[
        int, typer.Option("--count", min=0, max=10_000, help="Random set-points.", rich_help_panel=_HOW)
    ] = 8,
    patience: Annotated[
        float,
        typer.Option(
            "--patience", metavar="SECONDS", min=0.1, max=600, help="Machine time for an answer.", rich_help_panel=_HOW
        ),
    ] = 5.0,
    slack: Annotated[
        float,
        typer.Option(
            "--slack",
            metavar="SECONDS",
            min=0.1,
            max=600,
            help="Machine time, beside dead time and ramp, within which a power is there, and ends.",
            rich_help_panel=_HOW,
        ),
    ] = 1.0,
    wait: Annotated[
        float,
        typer.Option(
            "--wait", metavar="SECONDS", min=1, max=86_400, help="How long it may take to join.", rich_help_panel=_HOW
        ),
    ] = 60.0,
    epoch: Annotated[
        int | None,
        typer.Option("--epoch", min=0, help="Epoch of the first set-point.", show_default="1", rich_help_panel=_HOW),
    ] = None,
    at: Annotated[
        str | None,
        typer.Option(
            "--at",
            metavar="TIME",
            help="The run is simulated and begins at this time, such as 2024-05-17T08:00Z: for twins.",
            show_default="now, with real devices",
            rich_help_panel=_TIME,
        ),
    ] = None,
    speed: Annotated[
        float,
        typer.Option(
            "--speed",
            min=0.1,
            max=1000,
            help="Of the run: 10 is ten times faster than the clock.",
            rich_help_panel=_TIME,
        ),
    ] = 1.0,
    broker: options.BrokerOption = options.BROKER,
    certificates: options.CertificatesOption = None,
    json: options.JsonOption = None,
    username: options.UsernameOption = None,
    password_file: options.PasswordFileOption = None,
) -> None:
    """Examine **a device on a broker by the contract**: clause by clause, pass or fail, with what was seen.

    **It commands the device**: set-points up to its nameplate, so a real one draws and gives that power. It refuses
    while an EMS leads. Where no run goes on it announces one of its own, and ends it. The clauses are those of
    docs/topics.md. Exit code 0: none failed; 1: at least one did.

    On a broker with an access list it needs the folder that `provision` made: set-points are the EMS's to write, the
    run is the clock's.

    Examples:
        twinswarm conform fit-g2v --device ev1
        twinswarm conform mysite --device bess --through 1885    the device connects to port 1885
        twinswarm conform fit-g2v --device ev1 --seed 7 --json - | jq .passed
        twinswarm conform fit-g2v --device pv --at 2024-05-17T10:00Z    a twin
    """
    from broker.address import Credentials
    from services.conformance.proxy import CuttableWay
    from services.conformance.wishes import Wishes
    from twinswarm.deploy.examining import Moment, examine

    output = Output.to(json)
    named = site_id(site)
    begin = None if at is None else _time(at)
    if begin is None and speed != 1.0:
        raise InputError.one("--speed", "needs --at: real devices live along the clock", speed, code=Code.CONFLICT)
    chosen = secrets.randbelow(SEEDS) if seed is None else seed
    wishes = Wishes(chosen, count, patience, slack, wait, epoch=epoch)
    proofs = Credentials(None, None, None, username, password_file)
    if certificates is not None:
        connection = options.certified_connection(broker, certificates, proofs)
    else:
        connection = options.connection(broker, None, None, None, username, password_file, named)

    def say(text: str) -> None:
        output.console.print(f"{device}: {text}", markup=False, style="dim")

    with ExitStack() as stack:
        way = None
        if through is not None:
            way = stack.enter_context(CuttableWay(through, connection.address.host, connection.address.port))
            say(f"what comes to 127.0.0.1:{way.port} goes on to {connection.address}")
        kind, verdicts = examine(connection, named, device, wishes, way, Moment(begin, speed), say)
    output.write(_report(named, kind, device, chosen, verdicts))
    _show(verdicts, device, chosen, output.console)
    if not verdicts.passed:
        raise typer.Exit(1)


def _time(text: str) -> datetime:
    """Of ``--at``. Raises InputError."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        found = None
    if found is None or found.tzinfo is None:
        what = "a time with its zone is allowed, such as 2024-05-17T08:00Z"
        raise InputError.one("--at", what, text, code=Code.FORMAT)
    return found.astimezone(UTC)


def _report(site: str, kind: "Kind", device: str, seed: int, verdicts: "Verdicts") -> dict[str, object]:
    return {
        "site": site,
        "kind": str(kind),
        "device": device,
        "seed": seed,
        "passed": verdicts.passed,
        "clauses": [
            {
                "clause": str(clause),
                "outcome": str(outcome),
                "text": clause.text,
                "evidence": list(verdicts.evidence(clause)),
            }
            for clause, outcome in verdicts.outcomes.items()
        ],
    }


def _show(verdicts: "Verdicts", device: str, seed: int, console: "Console") -> None:
    from rich.markup import escape
    from rich.table import Table

    colours = {"pass": "green", "fail": "bold red", "not judged": "dim"}
    table = Table(title=f"{device} by the contract", title_style="bold", title_justify="left")
    for head in ("clause", "", "promise, and what was seen"):
        table.add_column(head, overflow="fold")
    for clause, outcome in verdicts.outcomes.items():
        seen = "".join(f"\n{escape(text)}" for text in verdicts.evidence(clause))
        text = f"{escape(clause.text)}[{colours[outcome]}]{seen}[/]"
        table.add_row(clause, f"[{colours[outcome]}]{outcome}[/]", text)
    console.print(table)
    failed = [str(clause) for clause in verdicts.failures]
    console.print(f"failed: {', '.join(failed)}" if failed else "passed")
    console.print(f"seed {seed}: --seed {seed} sends the same random set-points again", markup=False)
