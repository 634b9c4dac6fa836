"""What one process of the swarm runs: participants, or the clock. Kept light: a charger imports little more than this.

``python -P -m twinswarm.deploy.process DEVICE --site FILE …`` is what the supervisor of `up` starts; with ``-P`` no
module is looked for in the working folder, which is the user's. Exit codes: 0 done, 1 failed and may be started again,
2 the input is wrong, 3 it must not be started again as it is.
"""

import argparse
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from broker.address import BrokerAddress, Credentials
from broker.provision.layout import Folder
from schemas.errors import Code, InputError, LocalStateError, MessageRefusedError, TwinswarmError
from schemas.site import Site
from twinswarm.deploy.logs import log_to_stderr

if TYPE_CHECKING:
    from schemas.participant import Participant
    from services.ems.algorithm import Algorithm
    from services.history.store import HistoryStore

LOG = logging.getLogger("twinswarm")

DONE, FAILED, WRONG_INPUT, NOT_AGAIN = 0, 1, 2, 3


@dataclass(frozen=True)
class Connection:
    """How a process reaches the broker."""

    address: BrokerAddress
    credentials: Credentials = field(default_factory=Credentials)
    certificates: Path | None = None
    """Folder that ``twinswarm provision`` made: everybody uses the certificate in its own name. None: `credentials`."""

    def credentials_of(self, name: str) -> Credentials:
        """Raises InputError when the folder has no certificate for ``name``, a device, a service or ``observer``."""
        return self.credentials if self.certificates is None else Folder(self.certificates).credentials(name)


@dataclass(frozen=True)
class Life:
    """When a process ends, and how it shows that it lives."""

    once: bool = False
    """It ends with the run that it took part in."""
    lifeline: bool = False
    """It ends when its standard input does, so that it cannot outlive its supervisor."""
    heartbeat: Path | None = None
    """File that it renews, see `broker.heartbeat`."""


def stop_event(life: Life) -> threading.Event:
    """Set on SIGTERM, SIGINT (without a lifeline), or the end of the lifeline."""
    event = threading.Event()

    def on_signal(number: int, frame: FrameType | None) -> None:
        del number, frame
        event.set()

    def watch() -> None:
        while os.read(sys.stdin.fileno(), 4096):
            pass
        event.set()

    signal.signal(signal.SIGTERM, on_signal)
    # Ctrl-C is the supervisor's: it asks everybody to stop.
    signal.signal(signal.SIGINT, signal.SIG_IGN if life.lifeline else on_signal)
    if life.lifeline:
        threading.Thread(target=watch, name="lifeline", daemon=True).start()
    return event


def utc_now() -> datetime:
    return datetime.now(UTC)


def run_members(
    site: Site,
    devices: Sequence[str],
    connection: Connection,
    checkpoints: Path | None,
    history: Path | None,
    life: Life,
    disk_low_bytes: int | None = None,
    algorithm: "Algorithm | None" = None,
    *,
    outward: bool = False,
) -> None:
    """Serves participants of the site, one or several, until this process is to stop. Raises TwinswarmError.

    ``algorithm``: what the EMS plans with in the place of the optimiser. ``outward``: twins answer by another protocol,
    too, where the site says so; for a run in wall time.
    """
    from twinswarm.deploy.hosting import host
    from twinswarm.simulation.compose import Recording, maker

    store = None if history is None else _history_store(history)
    recording = None if store is None else Recording(store, disk_low_bytes=disk_low_bytes)
    makers = {device: maker(site, device, recording, algorithm) for device in devices}
    if outward:
        from twinswarm.deploy.outward import faced

        makers = {device: faced(site, device, make) for device, make in makers.items()}
    host(makers, site, connection, checkpoints, life, stop_event(life), store)


def _history_store(history: Path) -> "HistoryStore":
    from services.history.store import HistoryStore

    return HistoryStore(history)


def serve(
    make: Callable[[], "Participant"],
    site: Site,
    device: str,
    connection: Connection,
    checkpoints: Path | None,
    life: Life,
    stop: threading.Event,
) -> None:
    """Serves a participant until ``stop`` is set. Raises TwinswarmError."""
    from twinswarm.deploy.hosting import host

    host({device: make}, site, connection, checkpoints, life, stop)


def main(arguments: Sequence[str] | None = None) -> int:
    """The process's entry. Every error of ours ends in one line on standard error, and in an exit code."""
    parser = argparse.ArgumentParser(prog="python -m twinswarm.deploy.process", description=__doc__)
    names = "a device of the site, or network, ems, recorder, forecast, tariff; or clock, alone"
    parser.add_argument("devices", nargs="+", metavar="DEVICE", help=f"{names}; several share this process")
    parser.add_argument("--site", type=Path, required=True, help="the site description, resolved, as JSON")
    parser.add_argument("--broker", required=True, help="mqtt://host:port or mqtts://host:port")
    parser.add_argument("--checkpoints", type=Path, help="folder of the participants' checkpoints")
    parser.add_argument("--history", type=Path, help="the recorder's SQLite file")
    parser.add_argument("--course", help="the clock's: a run as JSON, see twinswarm.deploy.clock_order")
    parser.add_argument("--once", action="store_true", help="end with the run")
    parser.add_argument("--outward", action="store_true", help="answer by other protocols where the site says so")
    parser.add_argument("--lifeline", action="store_true", help="end when standard input does")
    for name in ("cafile", "cert", "key", "password-file"):
        parser.add_argument(f"--{name}", type=Path)
    parser.add_argument("--username")
    given = parser.parse_args(arguments)
    return guarded(lambda: _serve(given))


def guarded(serve: Callable[[], None]) -> int:
    """Runs it; an error of ours becomes one line in the log and an exit code."""
    try:
        serve()
    except ModuleNotFoundError as error:
        from twinswarm.extras import missing_extra

        if (missing := missing_extra(error)) is None:
            raise
        complaint: TwinswarmError = missing
    except TwinswarmError as error:
        complaint = error
    else:
        return DONE
    LOG.error("%s", complaint)
    if isinstance(complaint, InputError):
        return WRONG_INPUT
    return NOT_AGAIN if isinstance(complaint, LocalStateError | MessageRefusedError) else FAILED


def _serve(given: argparse.Namespace) -> None:
    from broker.address import parse_broker

    log_to_stderr()
    site = Site.model_validate_json(given.site.read_bytes())
    credentials = Credentials(given.cafile, given.cert, given.key, given.username, given.password_file)
    address = parse_broker(given.broker)
    if not isinstance(address, BrokerAddress):
        raise InputError.one(
            "--broker", "a process needs the address of a broker that runs", given.broker, code=Code.FORMAT
        )
    connection = Connection(address, credentials)
    life = Life(once=given.once, lifeline=given.lifeline)
    if given.devices == ["clock"]:
        from twinswarm.deploy.clock_order import ClockOrder
        from twinswarm.deploy.clock_process import run_clock

        run_clock(site, ClockOrder.model_validate_json(given.course), connection, given.checkpoints, life)
    else:
        history = given.history if "recorder" in given.devices else None
        run_members(site, given.devices, connection, given.checkpoints, history, life, outward=given.outward)


if __name__ == "__main__":
    sys.exit(main())
