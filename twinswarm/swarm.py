"""A site on a broker, for programs and tests. Import it from `twinswarm`."""

import shutil
import tempfile
import threading
import time
from collections.abc import Iterable
from contextlib import ExitStack
from datetime import date as Date  # noqa: N812 - a parameter has this name
from datetime import time as Time  # noqa: N812 - it says what it is in a signature
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from broker.address import BrokerAddress, Credentials, LocalBroker, parse_broker
from schemas.errors import Code, InputError, RunFailedError
from schemas.messages import TimeMode
from twinswarm.api import AnySite, Baseline, RunSpan, Storage, as_baseline, as_scripted, as_site, as_storage
from twinswarm.deploy.up import RECORDER_LISTENS_S, How, StartedRun, prepared
from twinswarm.simulation.pipeline import Order, settle

if TYPE_CHECKING:
    from services.analysis.run_result import RunResult
    from services.ems.algorithm import Algorithm

_LOOK_S = 0.05
"""Between looks at the participants."""


class Swarm:
    """A site on a broker: a twin for every device, the network, EMS, forecast, tariff, recorder and clock.

    A context manager: inside, the run goes on, and whoever knows the messages takes part at `address`; afterwards no
    process is left. ``speed`` None is lock-step, as fast as the machine goes and the same numbers to the last bit;
    a number follows the machine's clock so many times faster.

    ``attach``: participants that the caller runs (``["ems"]`` for an EMS of one's own): in lock-step the run waits for
    them. ``ems``: instead, a function from the problem to set-points [kW]. ``threads``: everybody in this process,
    which starts sooner; else a process each. ``broker``: ``embedded``, ``mosquitto``, or the address of one that runs;
    ``port`` of one that is started, 0: a free one. ``history``: an SQLite file that the run is added to; by default it
    is gone when the swarm is. ``scenario``: a file of scripted events, docs/scenario.md. ``case``, ``date``, ``begin``,
    ``length``, ``storage`` and ``baseline`` are those of `twinswarm.run_day`.
    """

    def __init__(
        self,
        site: AnySite = "fit_g2v",
        *,
        case: str | None = None,
        date: Date | str | None = None,
        begin: Time | str | None = None,
        length: timedelta | str | None = None,
        storage: Storage = "both",
        baseline: Baseline = "smart",
        speed: float | None = None,
        attach: Iterable[str] = (),
        ems: "Algorithm | None" = None,
        threads: bool = False,
        broker: str = LocalBroker.EMBEDDED,
        port: int = 0,
        credentials: Credentials | None = None,
        scenario: Path | str | None = None,
        history: Path | str | None = None,
    ) -> None:
        """Raises `InputError` for wrong input."""
        attached = frozenset([attach] if isinstance(attach, str) else attach)
        if speed is not None and not 0 < speed <= 100_000:
            what = "None (lock-step) or a number above 0 and up to 100000 is allowed"
            raise InputError.one("speed", what, speed, code=Code.RANGE)
        if not 0 <= port < 2**16:
            raise InputError.one("port", "0 (a free one) to 65535 is allowed", port, code=Code.RANGE)
        if port and isinstance(parse_broker(broker, where="broker"), BrokerAddress):
            raise InputError.one("port", "is of a broker that is started: this one runs", port, code=Code.CONFLICT)
        if ems is not None and "ems" in attached:
            raise InputError.one("ems", "cannot stand beside attach=['ems']: one EMS leads", code=Code.CONFLICT)
        self.site = as_site(site, case)
        """The whole site, as described."""
        self._course = RunSpan(date, begin, length).course(self.site)
        self.site = as_scripted(self.site, scenario, self._course)
        self._storage, self._baseline = as_storage(storage), as_baseline(baseline)
        self._broker, self._port, self._credentials = broker, port, credentials or Credentials()
        self._speed, self._attached, self._algorithm, self._threads = speed, attached, ems, threads
        self._wanted_history = None if history is None else Path(history)
        self._stack = ExitStack()
        self._started: StartedRun | None = None
        self._order: Order | None = None
        self._began = 0.0
        self._over = threading.Event()
        self._halt = threading.Event()
        self._complete = False
        self._failure: BaseException | None = None
        self._watcher: threading.Thread | None = None
        self._result: RunResult | None = None

    # ---- starting and stopping

    def start(self) -> Self:
        """Starts broker and participants, the clock last; returns while the run goes on. Raises `TwinswarmError`."""
        if self._started is not None:
            raise RunFailedError("this swarm was started before: make another one for another run")
        with ExitStack() as stack:
            folder = Path(tempfile.mkdtemp(prefix="twinswarm-"))
            stack.callback(shutil.rmtree, folder, ignore_errors=True)
            history = self._wanted_history or folder / "history.sqlite"
            history.parent.mkdir(parents=True, exist_ok=True)
            self._order = Order(
                self.site, self._course, self._storage, self._baseline, history.absolute(), self._algorithm
            )
            how = How(
                self._broker,
                self._credentials,
                folder,
                self._speed,
                self._attached,
                self._threads,
                port=self._port,
            )
            self._started = stack.enter_context(prepared(self._order, how))
            stack.callback(self._end_watching)
            self._began = time.perf_counter()
            self._started.start()
            self._watcher = threading.Thread(target=self._watch, name="twinswarm-watch", daemon=True)
            self._watcher.start()
            self._stack = stack.pop_all()
        return self

    def _watch(self) -> None:
        assert self._started is not None
        try:
            while not self._halt.wait(_LOOK_S):
                self._started.participants.watch()  # starts again who died
                if self._started.finished:
                    self._complete = True
                    break
        except BaseException as error:  # raised again in `wait`, by whoever waits
            self._failure = error
        finally:
            self._over.set()

    def _end_watching(self) -> None:
        self._halt.set()
        if self._watcher is not None:
            self._watcher.join()

    def stop(self) -> None:
        """Ends all participants and the broker, whatever the run has come to. Safe to call twice."""
        self._stack.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    # ---- where it is

    @property
    def _running(self) -> StartedRun:
        if self._started is None:
            raise RunFailedError("the swarm was not started: use it in a with statement, or call start()")
        return self._started

    @property
    def run(self) -> str:
        """The run's identifier, which every message carries."""
        return self._running.run

    @property
    def address(self) -> str:
        """The broker's, as ``mqtt://host:port``."""
        return str(self._running.connection.address)

    @property
    def host(self) -> str:
        return self._running.connection.address.host

    @property
    def port(self) -> int:
        return self._running.connection.address.port

    @property
    def history(self) -> Path:
        """The SQLite file of the recorder, for `twinswarm.open_history`."""
        assert self._running and self._order is not None
        return self._order.history

    @property
    def over(self) -> bool:
        """Whether the run has come to its end, or failed."""
        return self._over.is_set()

    # ---- the result

    def wait(self, timeout_s: float | None = None) -> "RunResult":
        """Waits for the run's end, and returns its result, compared with the baseline.

        To be called before `stop`. Raises RunFailedError when the run failed, with the last words of who is to blame,
        and TimeoutError when it has not come to its end within ``timeout_s``.
        """
        if self._result is not None:
            return self._result
        started, order = self._running, self._order
        assert order is not None
        if not self._over.wait(timeout_s):
            raise TimeoutError(f"the run has not come to its end within {timeout_s:g} s")
        if self._failure is not None:
            raise self._failure
        if not self._complete:
            raise RunFailedError("the swarm was stopped before the run's end", code=Code.STOPPED)
        if self._speed is not None:
            time.sleep(RECORDER_LISTENS_S)
        started.participants.stop()  # the recorder has closed its file by then
        self._result = settle(order.history, started.run, order.reference, time.perf_counter() - self._began)
        return self._result

    @property
    def mode(self) -> TimeMode:
        """Lock-step, or along the machine's clock."""
        return TimeMode.LOCKSTEP if self._speed is None else TimeMode.WALL
