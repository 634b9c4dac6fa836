"""``forward``, ``init-history`` and ``downsample``: the history in InfluxDB."""

import logging
import time
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar
from urllib.parse import urlsplit

import typer

from schemas.errors import Code, Fault, InputError, shorten
from twinswarm.cli import options

if TYPE_CHECKING:
    from services.influx.server import InfluxServer

_INFLUX = "InfluxDB"
UrlOption = Annotated[
    str, typer.Option("--influx", metavar="URL", help="http://host:port or https://…", rich_help_panel=_INFLUX)
]
OrgOption = Annotated[str, typer.Option("--org", metavar="NAME", help="Organisation.", rich_help_panel=_INFLUX)]
BucketOption = Annotated[
    str,
    typer.Option(
        "--bucket",
        metavar="NAME",
        help="Bucket of the live site. Simulated runs go to NAME-simulated, quarter-hours to NAME-quarters.",
        rich_help_panel=_INFLUX,
    ),
]
TokenOption = Annotated[
    Path | None,
    typer.Option(
        "--token-file",
        metavar="FILE",
        help="File whose first line is the token. There is no --token: everybody can read command lines.",
        show_default="TWINSWARM_INFLUX_TOKEN_FILE, TWINSWARM_INFLUX_TOKEN",
        rich_help_panel=_INFLUX,
    ),
]
URL, ORG, BUCKET = "http://127.0.0.1:8086", "twinswarm", "twinswarm"
_LEAST_RETENTION_DAYS = 2.0
_EARLIEST, _LATEST = datetime(1970, 1, 1, tzinfo=UTC), datetime(2261, 12, 31, 23, 59, 59, tzinfo=UTC)
"""What InfluxDB's times reach, in whole years."""
_PASSWORD = (8, 72)
"""Bytes of a password that InfluxDB takes."""
_AnswerT = TypeVar("_AnswerT")
_LOOK_S = 1.0
"""Between looks for what is not there yet."""

LOG = logging.getLogger(__name__)


def forward(
    history: Annotated[
        str,
        typer.Option("--history", metavar="sqlite:PATH", help="History file of the recorder.", rich_help_panel=_INFLUX),
    ] = options.HISTORY,
    influx: UrlOption = URL,
    org: OrgOption = ORG,
    bucket: BucketOption = BUCKET,
    token_file: TokenOption = None,
    keep: Annotated[
        float | None,
        typer.Option(
            "--keep",
            metavar="DAYS",
            help="Delete messages from the file that are older and were forwarded; others are never deleted.",
            show_default="everything is kept",
            rich_help_panel=_INFLUX,
        ),
    ] = None,
    once: Annotated[
        bool, typer.Option("--once", help="Exit as soon as everything is forwarded.", rich_help_panel=_INFLUX)
    ] = False,
    heartbeat: options.HeartbeatOption = None,
) -> None:
    """Forward the history to **InfluxDB**, beside the recorder: the history file is the spool.

    It works while InfluxDB is away, and waits for the history file and the token file. A point that the server refuses
    goes to quarantine in the history file, with the server's reason. `init-history` makes the buckets.

    Examples:
        twinswarm forward --history sqlite:site.sqlite --influx http://127.0.0.1:8086 --token-file token --keep 30
    """
    from broker.heartbeat import Heartbeat
    from services.history.store import HistoryStore
    from services.influx.forward import Forwarder
    from services.influx.reader import read_token, token_path
    from services.influx.spool import Spool, only_forwarder
    from twinswarm.deploy.logs import log_to_stderr
    from twinswarm.deploy.process import Life, stop_event, utc_now

    if keep is not None and not 0 < keep <= 36_500:
        raise InputError.one("--keep", "more than 0 and at most 36500 days", keep, code=Code.RANGE)
    log_to_stderr(logging.INFO)
    file = options.history_file(history)
    check_names(org, bucket)
    check_url(influx)
    stop, alive = stop_event(Life()), Heartbeat(heartbeat)
    if not once:
        # In a stack that is just starting the recorder and init-history have not made them yet.
        for needed in (file, token_path(token_file)):
            if needed is not None and not _comes_to_be(needed, lambda: alive.wait(stop, _LOOK_S)):
                return
    if not file.is_file():
        raise InputError.one(
            "--history", "there is no history here; the recorder makes it", str(file), code=Code.NOT_FOUND
        )
    with (
        only_forwarder(file),
        closing(HistoryStore(file)) as store,
        closing(_server(influx, org, token_file)) as server,
    ):
        forwarder = Forwarder(
            Spool(store),
            server,
            bucket,
            now=utc_now,
            wait=lambda seconds: alive.wait(stop, seconds),
            beat=alive.beat,
            pause=stop.wait,
            token=lambda: read_token(token_file),
            keep=None if keep is None else timedelta(days=keep),
        )
        forwarder.serve(until_empty=once)


def init_history(
    influx: UrlOption = URL,
    org: OrgOption = ORG,
    bucket: BucketOption = BUCKET,
    token_file: TokenOption = None,
    retention: Annotated[
        float | None,
        typer.Option(
            "--retention",
            metavar="DAYS",
            help="Retention of the live bucket, at least 2; 0: for ever, as for quarter-hours and simulated runs. An "
            "existing bucket is changed only if this option is given; older data are then deleted.",
            show_default="90 when the bucket is made",
            rich_help_panel=_INFLUX,
        ),
    ] = None,
    write_token: Annotated[
        list[str] | None,
        typer.Option(
            "--write-token",
            metavar="FILE[:UID]",
            help="File for a token that may write and read these buckets and nothing else; only the account UID can "
            "read the file. The token is made if there is none that works. Repeatable.",
            rich_help_panel=_INFLUX,
        ),
    ] = None,
    read_token: Annotated[
        list[str] | None,
        typer.Option(
            "--read-token",
            metavar="FILE[:UID]",
            help="The same for a token that may only read them. Repeatable.",
            rich_help_panel=_INFLUX,
        ),
    ] = None,
    set_up: Annotated[
        Path | None,
        typer.Option(
            "--set-up",
            metavar="FILE",
            help="File with a password, to set up a new InfluxDB: it gets the user admin with this password, the "
            "organisation, the bucket, and the token of --token-file with all rights.",
            rich_help_panel=_INFLUX,
        ),
    ] = None,
    wait: Annotated[
        float,
        typer.Option(
            "--wait",
            metavar="SECONDS",
            min=0.0,
            help="Most time to wait for InfluxDB to answer.",
            rich_help_panel=_INFLUX,
        ),
    ] = 60.0,
) -> None:
    """Make InfluxDB's **buckets** and the task that makes quarter-hours. It may be repeated: nothing is lost.

    With --write-token and --read-token it also makes tokens with the least rights that are needed; for that the token
    of --token-file must have the right to manage tokens. With --set-up it sets up a new InfluxDB first. Password and
    tokens stay in their files and appear in no list of processes.

    Examples:
        twinswarm init-history --influx http://127.0.0.1:8086 --org twinswarm --retention 90 --token-file token
        twinswarm init-history --token-file admin-token --write-token forward/token --read-token grafana/token:472
    """
    from services.influx import downsample as made
    from services.influx import reader as influx_history
    from services.influx.server import ADMIN
    from twinswarm.deploy.stack.token_file import TokenFile, parse_token_file

    check_names(org, bucket)
    if retention and not _LEAST_RETENTION_DAYS <= retention <= 36_500:
        raise InputError.one("--retention", "0, or 2 to 36500 days", retention, code=Code.RANGE)
    kept: list[TokenFile] = [
        parse_token_file(option, text, write=write)
        for option, texts, write in (("--write-token", write_token, True), ("--read-token", read_token, False))
        for text in texts or ()
    ]
    with closing(_server(influx, org, token_file)) as server:
        done = []
        retention_s = None if retention is None else round(retention * 86_400)
        if set_up is not None:
            password, token = _password(set_up), influx_history.read_token(token_file)
            first_s = made.RETENTION_S if retention_s is None else retention_s
            if _await_answer(server, lambda: server.set_up(password, bucket, first_s, token), wait):
                done.append(f"set up {influx}: organisation {org}, bucket {bucket}, user {ADMIN}")
        else:
            _await_answer(server, lambda: server.bucket(bucket), wait)
        done += made.init_history(server, bucket, retention_s)
        done += [told for file in kept for told in file.keep(server, bucket)]
        for told in done or ["everything is there"]:
            typer.echo(told)


def downsample(
    start: Annotated[str, typer.Option("--from", metavar="TIME", help="Begin, UTC: 2024-05-17, or with a time.")],
    stop: Annotated[str, typer.Option("--to", metavar="TIME", help="End, UTC, not included.")],
    influx: UrlOption = URL,
    org: OrgOption = ORG,
    bucket: BucketOption = BUCKET,
    token_file: TokenOption = None,
    live: Annotated[bool, typer.Option("--live", help="Use the live bucket instead of the simulated runs.")] = False,
) -> None:
    """Make **quarter-hours** of simulated runs in InfluxDB: means and energies. The live bucket has a task for it.

    Examples:
        twinswarm downsample --from 2024-05-16T22:00 --to 2024-05-17T22:00 --token-file token
    """
    from services.influx import downsample as made

    check_names(org, bucket)
    begin, end = _time("--from", start), _time("--to", stop)
    if begin >= end:
        raise InputError.one("--to", "is to be after --from", stop, code=Code.RANGE)
    with closing(_server(influx, org, token_file)) as server:
        made.downsample(server, bucket, begin, end, simulated=not live)


def _comes_to_be(file: Path, wait: Callable[[], bool]) -> bool:
    """Waits until the file is there; False: ``wait`` said to stop."""
    if not file.is_file():
        LOG.warning("waiting for %s, which is not there yet", file)
    while not file.is_file():
        if wait():
            return False
    return True


def _password(file: Path) -> str:
    try:
        text = file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError.one("--set-up", f"cannot be read: {error}", str(file), code=Code.UNREADABLE) from None
    if not _PASSWORD[0] <= len(text.encode()) <= _PASSWORD[1]:
        what = f"a password of {_PASSWORD[0]} to {_PASSWORD[1]} bytes is wanted in it, not one of {len(text.encode())}"
        raise InputError.one("--set-up", what, str(file), code=Code.UNREADABLE)
    return text


def _await_answer(server: "InfluxServer", ask: Callable[[], _AnswerT], wait_s: float) -> _AnswerT:
    """What the server answered. Raises InfluxAwayError when it did not in time."""
    from services.influx.server import InfluxAwayError

    deadline = time.monotonic() + wait_s
    waiting = False
    while True:
        try:
            return ask()
        except InfluxAwayError as error:
            if time.monotonic() >= deadline:
                raise InfluxAwayError(f"{error}; waited {wait_s:g} s for it") from None
        if not waiting:
            typer.echo(f"waiting at most {wait_s:g} s for {server.url} to answer", err=True)
            waiting = True
        time.sleep(_LOOK_S)


def _server(url: str, org: str, token_file: Path | None) -> "InfluxServer":
    from services.influx.reader import read_token
    from services.influx.server import InfluxServer

    check_url(url)
    return InfluxServer(url, org, read_token(token_file))


def check_url(url: str) -> None:
    """Raises InputError."""
    from services.influx.reader import without_secrets

    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # brackets without an end, a port that is none
        usable = False
    if not usable:
        raise InputError.one(
            "--influx", "http://host:port or https://host:port", without_secrets(url), code=Code.FORMAT
        )
    if parts.username is not None or parts.password is not None or parts.query or parts.fragment:
        raise InputError.one(
            "--influx", "is an address alone; a token is given by a file", without_secrets(url), code=Code.CONFLICT
        )


def check_names(org: str | None, bucket: str | None) -> None:
    """Raises InputError for an empty one: the server would take it for any. None is one that was not given."""
    faults = [
        Fault(option, "is not to be empty", shorten(name), code=Code.MISSING)
        for option, name in (("--org", org), ("--bucket", bucket))
        if name is not None and not name.strip()
    ]
    if faults:
        raise InputError(faults)


def _time(option: str, text: str) -> datetime:
    try:
        told = datetime.fromisoformat(text)
    except ValueError:
        raise InputError.one(
            option, "a time is written 2024-05-17 or 2024-05-17T22:00, UTC", text, code=Code.FORMAT
        ) from None
    try:
        time = told.replace(tzinfo=UTC) if told.tzinfo is None else told.astimezone(UTC)
    except OverflowError:
        time = _EARLIEST - timedelta(seconds=1)
    if not _EARLIEST <= time <= _LATEST:
        raise InputError.one(option, f"a time from {_EARLIEST:%Y} until the end of {_LATEST:%Y}", text, code=Code.RANGE)
    return time
