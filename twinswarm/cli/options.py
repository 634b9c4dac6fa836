"""The options that commands share, each defined once, and what they mean."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer

from broker.address import BrokerAddress, Credentials, parse_broker
from schemas.cycle import Course
from schemas.errors import Code, Fault, InputError, shorten
from schemas.site import Site
from services.clock.lateness import WhenLate
from twinswarm.deploy.process import Connection
from twinswarm.simulation.coverage import check_profiles
from twinswarm.simulation.runs import local_course, local_instant, parse_date, parse_duration
from twinswarm.simulation.variants import Reference, StorageChoice, with_storage

RUNS = Path("runs")
"""Where histories and reports go when nothing else is said."""
HISTORY = f"sqlite:{RUNS / 'history.sqlite'}"
SITE = "fit_g2v"
BROKER: str | None = None
"""The broker of a swarm that runs on this machine, else `BROKER_OF_THE_MACHINE`."""
BROKER_OF_THE_MACHINE = "mqtt://127.0.0.1:1883"
LOCKSTEP = "lockstep"

_SITE, _WHEN, _OUT, _BROKER = "Site", "Time", "Results", "Broker"

# ---- the site and its variant

SiteOption = Annotated[
    str,
    typer.Option(
        "--site",
        metavar="FILE|NAME",
        help="Site description: a YAML file, a folder with site.yaml, resolved JSON, or a site in the box "
        "(fit_g2v, fit_none, fit_uncontrolled, carpark, carpark_year, heatpump).",
        rich_help_panel=_SITE,
    ),
]
SiteArgument = Annotated[
    str, typer.Argument(metavar="SITE", help="A site description: a file, a folder, or a site in the box.")
]
JobsOption = Annotated[
    int | None, typer.Option("--jobs", min=1, max=256, help="Worker processes.", show_default="one per core")
]
RunsInParallelOption = Annotated[
    int | None, typer.Option("--processes", min=1, max=256, help="Runs in parallel.", show_default="one per core")
]
WholeDaysOption = Annotated[
    str,
    typer.Option(
        "--for",
        metavar="day|week|month|3d",
        help="Whole local days from --date on; month: the calendar month that --date is in.",
        rich_help_panel=_WHEN,
    ),
]
ResolvedSiteOption = Annotated[
    str,
    typer.Option(
        "--site",
        metavar="FILE|NAME",
        help="The site that all services of a run share: JSON as `twinswarm site resolve` writes it. A description or "
        "a site in the box is used without a variant: with its own tariff and all of its storage.",
        rich_help_panel=_SITE,
    ),
]
CaseOption = Annotated[
    str | None,
    typer.Option(
        "--case",
        metavar="1..6",
        help="A case of the site: its tariff and its PV. The fitted sites have the study's 1 to 6. "
        "Without this option the site's own tariff holds; for the fitted sites it is that of case 6.",
        rich_help_panel=_SITE,
    ),
]
StorageOption = Annotated[
    StorageChoice,
    typer.Option(
        "--storage",
        help="Storage that the EMS may use: the stationary battery (bess), the cars (v2g), both, or none. "
        "Without V2G the cars are charged as in the baseline.",
        rich_help_panel=_SITE,
    ),
]
ReferenceOption = Annotated[
    Reference,
    typer.Option(
        "--reference",
        help="Baseline that savings are measured against; it has neither BESS nor V2G. no-cars: without the cars. "
        "uncontrolled: cars charge on arrival. smart: cars charge when energy is cheap.",
        rich_help_panel=_SITE,
    ),
]

# ---- time

DateOption = Annotated[
    str | None,
    typer.Option(
        "--date",
        metavar="YYYY-MM-DD",
        help="Local day at whose midnight the run begins.",
        show_default="the site's date",
        rich_help_panel=_WHEN,
    ),
]
ForOption = Annotated[
    str | None,
    typer.Option(
        "--for",
        metavar="DURATION",
        help="Simulated length: 24h, 90min, 3d (1d is 24 h).",
        show_default="that local day: 23, 24 or 25 h",
        rich_help_panel=_WHEN,
    ),
]
FromOption = Annotated[
    str | None,
    typer.Option(
        "--from",
        metavar="HH:MM",
        help="Local time at which the run begins; it must be the beginning of a step.",
        show_default="midnight",
        rich_help_panel=_WHEN,
    ),
]
NowOption = Annotated[
    bool,
    typer.Option(
        "--now",
        help="The run begins at this moment of the machine's clock, and without --for it has no end. "
        "Needs --speed with a number.",
        rich_help_panel=_WHEN,
    ),
]
ScenarioOption = Annotated[
    Path | None,
    typer.Option(
        "--scenario",
        metavar="FILE",
        help="Scripted events: a car leaves early, a cloud, a device goes offline, a meter lies. See docs/scenario.md.",
        rich_help_panel=_SITE,
    ),
]
SpeedOption = Annotated[
    str,
    typer.Option(
        "--speed",
        metavar="lockstep|NUMBER",
        help="lockstep: barrier by barrier, as fast as the machine goes, bit-identical. A number: scaled real time, so "
        "many times faster than the clock; 1 is real time. Devices that the machine is too slow for count as absent.",
        rich_help_panel=_WHEN,
    ),
]
StartAtOption = Annotated[
    str | None,
    typer.Option(
        "--start-at",
        metavar="TIME",
        help="The machine's time at which the run begins, such as 2026-11-29T05:00:00Z. Runs that begin with the same "
        "TIME, at the same simulated time and --speed have one clock, on several machines, too. Needs --speed with a "
        "number.",
        show_default="as soon as everybody is there",
        rich_help_panel=_WHEN,
    ),
]
WhenLateOption = Annotated[
    WhenLate | None,
    typer.Option(
        "--when-late",
        help="With --speed above 1: what happens when a tenth of the set-points comes late or not at all, since the "
        "machine is too slow for it. slow: the clock halves the speed. stop: the run ends with an error. go-on: it "
        "goes on, and the result says how many were late.",
        show_default="slow; beside --start-at go-on",
        rich_help_panel=_WHEN,
    ),
]

# ---- results

HistoryOption = Annotated[
    str,
    typer.Option(
        "--history",
        metavar="sqlite:PATH",
        help="History file that the recorder writes; it is made if it does not exist. Runs are added to it.",
        rich_help_panel=_OUT,
    ),
]
RecordedOption = Annotated[
    str,
    typer.Option(
        "--history",
        metavar="sqlite:PATH|influxdb://HOST:PORT/ORG/BUCKET",
        help="History to read. InfluxDB's token comes from the file named by TWINSWARM_INFLUX_TOKEN_FILE.",
        rich_help_panel=_OUT,
    ),
]
RunOption = Annotated[
    str,
    typer.Option(
        "--run",
        metavar="ID|latest",
        help="Identifier of a run, as printed at its end; latest: the newest run that is no baseline.",
        rich_help_panel=_OUT,
    ),
]
ReportOption = Annotated[
    Path | None,
    typer.Option(
        "--report",
        metavar="DIR",
        help="Folder for the HTML report with its figures; the report needs no internet.",
        show_default=f"{RUNS}/RUN",
        rich_help_panel=_OUT,
    ),
]
FigureFolderOption = Annotated[
    Path | None,
    typer.Option(
        "--out",
        metavar="DIR",
        help="Folder for the figures.",
        show_default=f"{RUNS}/COMMAND-SITE",
        rich_help_panel=_OUT,
    ),
]
NoReportOption = Annotated[
    bool, typer.Option("--no-report", help="Write no report, only the history.", rich_help_panel=_OUT)
]
JsonOption = Annotated[
    str | None,
    typer.Option(
        "--json",
        metavar="FILE",
        help="Write the result as JSON, too, at full precision. - is standard output; all other text then goes to "
        "standard error.",
        show_default=False,
        rich_help_panel=_OUT,
    ),
]

SiteWithDeviceOption = Annotated[
    str | None,
    typer.Option(
        "--site",
        metavar="ID|FILE",
        help="A site by its identifier, such as fit-g2v, or by its description: a file, or a folder with site.yaml.",
        show_default="the one that has the device",
        rich_help_panel="Site",
    ),
]
"""Of commands that act on a device of a running site."""

# ---- the broker

UpBrokerOption = Annotated[
    str,
    typer.Option(
        "--broker",
        metavar="embedded|mosquitto|URL",
        help="embedded: amqtt, nothing to install; it admits everybody on this machine and stores nothing "
        "(docs/brokers.md). mosquitto: a local Mosquitto is started. "
        "URL: a broker that runs already, mqtt://host:port or mqtts://host:port.",
        rich_help_panel=_BROKER,
    ),
]
PortOption = Annotated[
    int | None,
    typer.Option(
        "--port",
        metavar="1..65535",
        help="Port of the broker that is started, on 127.0.0.1.",
        show_default="a free one",
        rich_help_panel=_BROKER,
    ),
]
BrokerOption = Annotated[
    str | None,
    typer.Option(
        "--broker",
        metavar="URL",
        help="mqtt://host:port or, encrypted, mqtts://host:port.",
        show_default=f"that of a running `up`, else {BROKER_OF_THE_MACHINE}",
        rich_help_panel=_BROKER,
    ),
]
CafileOption = Annotated[
    Path | None,
    typer.Option(
        "--cafile",
        metavar="FILE",
        help="PEM file of the authorities that are trusted to sign the broker's certificate.",
        show_default="the machine's",
        rich_help_panel=_BROKER,
    ),
]
CertOption = Annotated[
    Path | None,
    typer.Option("--cert", metavar="FILE", help="PEM file: this client's certificate.", rich_help_panel=_BROKER),
]
KeyOption = Annotated[
    Path | None,
    typer.Option(
        "--key", metavar="FILE", help="PEM file: the key of --cert, without a pass phrase.", rich_help_panel=_BROKER
    ),
]
CertificatesOption = Annotated[
    Path | None,
    typer.Option(
        "--certificates",
        metavar="DIR",
        help="Folder that `provision` made: every participant uses the certificate in its own name.",
        rich_help_panel=_BROKER,
    ),
]
UsernameOption = Annotated[
    str | None, typer.Option("--username", metavar="NAME", help="User name at the broker.", rich_help_panel=_BROKER)
]
PasswordFileOption = Annotated[
    Path | None,
    typer.Option(
        "--password-file",
        metavar="FILE",
        help="File whose first line is the password. There is no --password: everybody can read command lines.",
        rich_help_panel=_BROKER,
    ),
]

# ---- supervision

HeartbeatOption = Annotated[
    Path | None,
    typer.Option(
        "--heartbeat",
        metavar="FILE",
        help="For a supervisor: the modification time of this file is renewed at least every 5 s while the work goes "
        "on; in a service on the broker only while its connection stands.",
        rich_help_panel="Supervision",
    ),
]


@dataclass(frozen=True)
class Variant:
    """A site under a case, and what of its storage takes part."""

    site: Site
    storage: StorageChoice
    reference: Reference

    @property
    def taking_part(self) -> Site:
        return with_storage(self.site, self.storage, self.reference)


def variant(site: str, case: str | None, storage: StorageChoice, reference: Reference) -> Variant:
    """Raises InputError with every fault of the description."""
    from sites.loader import load_site

    return Variant(load_site(site, case), storage, reference)


def resolved_site(site: str) -> Site:
    """The site of a service: resolved already, or described without a variant. Raises InputError."""
    from sites.loader import load_site

    return load_site(site)


def course(site: Site, date: str | None, length: str | None, begin: str | None = None) -> Course:
    """``begin``: local time of ``--from``. Without ``length`` until the end of that local day. Raises InputError,
    for a run that the site's profiles do not cover, too.
    """
    day = None if date is None else parse_date(date)
    span = None if length is None else parse_duration(length)
    try:
        whole = local_course(site, day, span)
    except InputError as error:
        raise InputError.one("--for", error.faults[0].what, length, code=error.code) from None
    found = whole
    if begin is not None:
        t0 = local_instant(begin, whole.t0, site, where="--from")
        found = Course(t0, whole.t_end if span is None else t0 + span, whole.step_s)
    check_profiles(site, found.t0, found.t_end)
    return found


def history_file(url: str) -> Path:
    """Of ``--history sqlite:PATH``. Raises InputError."""
    from services.history.sqlite import history_path

    try:
        return history_path(url)
    except InputError as error:
        raise InputError.one("--history", error.faults[0].what, url, code=error.code) from None


def folder(path: Path) -> Path:
    """Of ``--out``, made if need be. Raises InputError now for what could not be written in the end."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError.one("--out", f"cannot be made: {error.strerror}", str(path), code=Code.UNWRITABLE) from None
    return path


def parse_speed(text: str) -> float | None:
    """None: lock-step. Raises InputError."""
    if text == LOCKSTEP:
        return None
    allowed = "lockstep or a number above 0 and up to 100000 is allowed"
    try:
        speed = float(text)
    except ValueError:
        raise InputError.one("--speed", allowed, text, code=Code.RANGE) from None
    if not 0 < speed <= 100_000:
        raise InputError.one("--speed", allowed, text, code=Code.RANGE)
    return speed


START_AHEAD_MOST = timedelta(days=1)


def start_at(text: str | None, speed: float | None, *, from_now: bool, now: datetime) -> datetime | None:
    """The machine's time of ``--start-at``. Raises InputError."""
    if text is None:
        return None
    if speed is None:
        what = "is the machine's time, and lock-step knows none: give --speed a number"
        raise InputError.one("--start-at", what, text, code=Code.CONFLICT)
    if from_now:
        what = "cannot stand beside --now: runs that follow the machine's clock have one time as they are"
        raise InputError.one("--start-at", what, text, code=Code.CONFLICT)
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        found = None
    if found is None or found.tzinfo is None:
        what = "a time with its zone is allowed, such as 2026-11-29T05:00:00Z"
        raise InputError.one("--start-at", what, text, code=Code.FORMAT)
    if not now < found <= now + START_AHEAD_MOST:
        what = f"a time after now, {now.isoformat(timespec='seconds')}, and within a day of it is allowed"
        raise InputError.one("--start-at", what, text, code=Code.RANGE)
    return found.astimezone(UTC)


def when_late(given: WhenLate | None, start: datetime | None) -> WhenLate:
    """What the clock does that is too fast. Raises InputError."""
    if start is None:
        return WhenLate.SLOW if given is None else given
    if given is WhenLate.SLOW:
        what = "cannot stand beside --start-at: a run that slows down parts from the others; stop or go-on is allowed"
        raise InputError.one("--when-late", what, given.value, code=Code.CONFLICT)
    return WhenLate.GO_ON if given is None else given


def refuse_beside(option: str, others: Mapping[str, object]) -> None:
    """Raises InputError with all of ``others`` that were given (are not None): they cannot stand beside ``option``."""
    faults = [
        Fault(other, f"cannot stand beside {option}", None if value is True else shorten(value), code=Code.CONFLICT)
        for other, value in others.items()
        if value is not None
    ]
    if faults:
        raise InputError(faults)


def connection(
    broker: str | None,
    cafile: Path | None,
    cert: Path | None,
    key: Path | None,
    username: str | None,
    password_file: Path | None,
    site: str | None = None,
) -> Connection:
    """To a broker that runs; None: the one of the swarm that runs on this machine (on ``site``, if it is given).

    Raises InputError with all faults.
    """
    if broker is None:
        from twinswarm.deploy.running import find_broker

        broker = find_broker(BROKER_OF_THE_MACHINE, site)
    faults: list[Fault] = []
    address = credentials = None
    try:
        address = parse_broker(broker)
        if not isinstance(address, BrokerAddress):
            what = "mqtt://host:port or mqtts://host:port of a broker that runs is allowed; `up` can start one"
            faults.append(Fault("--broker", what, shorten(broker), code=Code.FORMAT))
    except InputError as error:
        faults += error.faults
    try:
        credentials = Credentials(cafile, cert, key, username, password_file)
        if isinstance(address, BrokerAddress):
            credentials.check_for(address)
    except InputError as error:
        faults += error.faults
    if faults:
        raise InputError(faults)
    assert isinstance(address, BrokerAddress)
    assert credentials is not None
    return Connection(address, credentials)


def certified_connection(broker: str | None, folder: Path, others: Credentials) -> Connection:
    """To a broker that runs, everybody by the certificate in its own name; ``others`` are proofs given besides.

    Raises InputError.
    """
    if broker is None:
        raise InputError.one("--broker", "is missing: --certificates are for a broker at mqtts://", code=Code.MISSING)
    check_certificates(folder, others, broker)
    address = parse_broker(broker)
    assert isinstance(address, BrokerAddress), "nothing else is encrypted"
    return Connection(address, certificates=folder)


def check_certificates(folder: Path | None, credentials: Credentials, broker: str) -> None:
    """Of ``--certificates``. Raises InputError for a folder that provisioning did not make, and beside other proofs."""
    if folder is None:
        return
    from broker.provision.layout import Folder

    if credentials != Credentials():
        raise InputError.one(
            "--certificates", "is everybody's proof: leave --cafile, --cert, --key, --username out", code=Code.CONFLICT
        )
    if not Folder(folder).ca_certificate.is_file():
        raise InputError.one(
            "--certificates", "was not made by `twinswarm provision`: it has no ca.crt", str(folder), code=Code.UNKNOWN
        )
    address = parse_broker(broker)
    if not isinstance(address, BrokerAddress) or not address.tls:
        what = "certificates need an encrypted broker that runs: give --broker mqtts://host:port"
        raise InputError.one("--certificates", what, broker, code=Code.UNKNOWN)
