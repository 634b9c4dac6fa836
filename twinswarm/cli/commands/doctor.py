"""``doctor``: whether a site is well, and where it is not."""

import shutil
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from schemas.errors import BrokerUnreachableError, Code, InputError
from schemas.topics import everything
from twinswarm.cli import options
from twinswarm.cli.observing import ObservedSiteOption, observed, observer
from twinswarm.cli.output import Output, busy

if TYPE_CHECKING:
    from rich.console import Console

    from broker.mqtt import MqttTransport
    from services.monitor.health import Finding
    from twinswarm.deploy.process import Connection

SOON = timedelta(days=30)
"""A certificate that expires within this time is a warning."""
ENOUGH_AFTER_S = 2.0
"""What is retained has come by then."""
_LOCAL = "This machine"


def doctor(
    broker: options.BrokerOption = options.BROKER,
    site: ObservedSiteOption = None,
    wait: Annotated[
        float,
        typer.Option(
            "--wait",
            metavar="SECONDS",
            min=2,
            max=3600,
            help="How long to listen at most; it ends as soon as everybody was heard. Services are heard every 15 s.",
            rich_help_panel="Broker",
        ),
    ] = 20.0,
    history: Annotated[
        str | None,
        typer.Option(
            "--history",
            metavar="[sqlite:]FILE",
            help="Look at the disk of this history, too.",
            show_default="only what the recorder says of its disk",
            rich_help_panel=_LOCAL,
        ),
    ] = None,
    checkpoints: Annotated[
        Path | None,
        typer.Option(
            "--checkpoints",
            metavar="DIR",
            help="Look at the disk of this folder of checkpoints, too.",
            show_default="not looked at",
            rich_help_panel=_LOCAL,
        ),
    ] = None,
    disk_low: Annotated[
        float,
        typer.Option(
            "--disk-low",
            metavar="GIB",
            min=0,
            max=1e6,
            help="Least free space on the disks of this machine.",
            rich_help_panel=_LOCAL,
        ),
    ] = 1.0,
    json: options.JsonOption = None,
    cafile: options.CafileOption = None,
    cert: options.CertOption = None,
    key: options.KeyOption = None,
    username: options.UsernameOption = None,
    password_file: options.PasswordFileOption = None,
) -> None:
    """Examine a running site: **broker, certificates, clocks, disks, recorder, EMS, who is silent, who falls back**.

    A line for each subject, with its reason; the exit code is 1 if any of them is a fault, also when the broker cannot
    be reached. It only listens; it publishes nothing. In lock-step nobody promises to send anything, so there it looks
    at states, certificates and disks only. MQTT carries no time of the broker, so clocks are compared with this
    machine's: those of all who send telemetry or metrics, the site's clock among them.

    Examples:
        twinswarm doctor                          the running `up`, else mqtt://127.0.0.1:1883
        twinswarm doctor --json - | jq .healthy   for a program
        twinswarm doctor --broker mqtts://broker:8883 --cafile ca.crt --cert observer.crt --key observer.key
    """
    output = Output.to(json)
    wanted, named = observed(site)
    connection = options.connection(broker, cafile, cert, key, username, password_file, named)
    now = datetime.now(UTC)
    recorded = None if history is None else Path(history.removeprefix("sqlite:"))
    findings = [*_files_of(connection, now), *_disks({"history": recorded, "checkpoints": checkpoints}, disk_low)]
    transport = observer(connection, wanted, "doctor")
    try:
        with busy(output.console, f"listening for up to {wait:g} s …"):
            findings = [*_of_the_broker(transport, wanted, connection, wait), *findings]
    finally:
        transport.close()
    from services.monitor.health import Verdict

    healthy = all(finding.verdict is not Verdict.FAULT for finding in findings)
    output.write(
        {
            "broker": str(connection.address),
            "healthy": healthy,
            "findings": [
                {"site": f.site, "subject": f.subject, "verdict": str(f.verdict), "text": f.text} for f in findings
            ],
        }
    )
    _show(findings, str(connection.address), output.console)
    if not healthy:
        raise typer.Exit(1)


def _of_the_broker(transport: "MqttTransport", wanted: str, connection: "Connection", wait_s: float) -> "list[Finding]":
    """The connection itself, then everything that is heard over it."""
    from services.monitor.discovery import listen
    from services.monitor.health import Finding, Verdict, certificate, diagnose

    began = time.monotonic()
    try:
        transport.connect([everything(wanted)])
    except BrokerUnreachableError as error:
        return [Finding("broker", Verdict.FAULT, str(error))]
    took_s = time.monotonic() - began
    proof = connection.credentials
    identity = proof.username or (transport.client_id if proof.cert is None else f"the certificate {proof.cert.name}")
    found = [Finding("broker", Verdict.OK, f"answers {identity} in {1000 * took_s:.0f} ms")]
    now = datetime.now(UTC)
    if (ends := transport.certificate_ends) is not None:
        found.append(certificate("certificate of the broker", ends, now, SOON))
    listened = time.monotonic()
    try:
        roster = listen(transport, wait_s, time.monotonic, lambda: datetime.now(UTC), enough_after_s=ENOUGH_AFTER_S)
    except BrokerUnreachableError as error:
        return [*found, Finding("broker", Verdict.FAULT, str(error))]
    if not transport.connected:
        found.append(Finding("broker", Verdict.FAULT, "the connection was lost while listening"))
    return [*found, *diagnose(roster, datetime.now(UTC), time.monotonic() - listened)]


def _files_of(connection: "Connection", now: datetime) -> "list[Finding]":
    """Expiry of the certificates that this connection uses."""
    from services.monitor.health import Finding, Verdict, certificate

    files = {"authority": connection.credentials.cafile, "this client": connection.credentials.cert}
    found = []
    for whose, file in files.items():
        if file is None:
            continue
        subject = f"certificate of {whose}"
        try:
            from broker.provision.expiry import certificate_ends
        except ModuleNotFoundError:
            found.append(
                Finding(subject, Verdict.UNKNOWN, "not looked at: it needs pip install 'twinswarm[provision]'")
            )
            continue
        found.append(certificate(subject, certificate_ends(file), now, SOON))
    return found


def _disks(places: dict[str, Path | None], low_gib: float) -> "list[Finding]":
    """Raises InputError for a place that is not there."""
    from services.monitor.health import disk

    found = []
    for what, place in places.items():
        if place is None:
            continue
        try:
            free = shutil.disk_usage(place if place.is_dir() else place.parent).free
        except OSError as error:
            raise InputError.one(
                f"--{what}", f"cannot be looked at: {error.strerror}", place, code=Code.NOT_FOUND
            ) from None
        found.append(disk(f"disk of {place}", free, round(low_gib * 2**30)))
    return found


def _show(findings: "list[Finding]", address: str, console: "Console") -> None:
    from rich.markup import escape
    from rich.table import Table

    colours = {"ok": "green", "warning": "yellow", "fault": "bold red", "unknown": "dim"}
    several = len({finding.site for finding in findings} - {None}) > 1
    table = Table(title=f"Health of {address}", title_style="bold", title_justify="left")
    for head in (*(("site",) if several else ()), "subject", "verdict", "reason"):
        table.add_column(head, overflow="fold")
    for finding in findings:
        colour = colours[finding.verdict]
        row = (escape(finding.subject), f"[{colour}]{finding.verdict}[/]", escape(finding.text))
        table.add_row(*((finding.site or "", *row) if several else row))
    console.print(table)
    counts = {verdict: sum(f.verdict == verdict for f in findings) for verdict in ("fault", "warning", "unknown")}
    console.print(", ".join(f"{count} {verdict}" for verdict, count in counts.items() if count) or "everything is well")
