"""The recorder: a participant whose inbox is the history, and whose answer to *commit* means: it is on disk."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta

from schemas.messages import Birth, Phase, Receipt, ServiceNameplate, TimeMode
from schemas.participant import Cadence, Json, Outgoing, Received, Turn, own_topic, software
from schemas.site import Site
from schemas.topics import Channel, Kind, Topic, everything, former, forwarded
from services.history.store import HistoryStore
from services.recorder.disk import DiskWatch, free_bytes
from services.recorder.inbox import RecorderInbox

_RECEIPT_PERIOD = timedelta(seconds=10)
"""Wall time: a receipt tells of so much at least, in session time; it must not answer every message."""
_RECEIPT_LEAST_S = 1.0
"""And of so much of the machine's time, however fast the run goes, to those who wait for one."""


def _machine_time() -> datetime:
    return datetime.now(UTC)


class Recorder:
    """Records everything on the topics of one site, apart from ticks, dones and most of its own.

    ``label`` names the run in the history: ``main``, ``reference``. ``now`` is the machine's clock, for the times
    at which a run was started and a dead letter came in; no number of a run depends on it. ``disk`` None: the file's,
    with the default limit. It is looked at in wall time only: the machine's disk is no part of a simulated day, and
    an alarm of it would make two runs of one day differ. (A disk that is full ends any run, with the file's name.)
    """

    kind = Kind.RECORDER
    device = "recorder"

    def __init__(
        self,
        site: Site,
        store: HistoryStore,
        label: str = "main",
        now: Callable[[], datetime] = _machine_time,
        disk: DiskWatch | None = None,
    ) -> None:
        self.site = site.site
        self._inbox = RecorderInbox(site, store, label, now)
        self._disk = disk or DiskWatch(lambda: free_bytes(store.path))
        self._last: tuple[datetime, Receipt] | None = None
        self._answered: datetime | None = None

    @property
    def inbox(self) -> RecorderInbox:
        return self._inbox

    @property
    def subscriptions(self) -> tuple[str, ...]:
        return (everything(self.site), former(self.site), forwarded(self.site))

    @property
    def cadence(self) -> Mapping[Phase, Cadence]:
        return {Phase.COMMIT: Cadence(period_s=1.0, on_message=True)}

    @property
    def metrics(self) -> Mapping[str, float]:
        """As in the receipt, which is not in the history itself: there, each would announce the next one.

        What waits in the broker is known to nobody here; it shows as ``lag_s``.
        """
        receipt = self._inbox.receipt()
        return {
            "stored": float(receipt.stored),
            "missing": float(receipt.missing),
            "dead_letters": float(receipt.dead_letters or 0),
            **self._disk.metrics,
        }

    def birth(self) -> Birth:
        return Birth(
            nameplate=ServiceNameplate(),
            time_modes=(TimeMode.LOCKSTEP, TimeMode.WALL),
            software=software(),
        )

    def act(self, turn: Turn, inbox: Sequence[Received]) -> list[Outgoing]:
        if turn.phase is not Phase.COMMIT:
            return []
        receipt = self._inbox.receipt()
        own = own_topic(self, Channel.RECEIPT)
        if turn.mode is not TimeMode.WALL:
            return [Outgoing(own, receipt)]
        answers = self._answers(turn)
        about_me = answers.pop(own, None)
        told = [Outgoing(topic, answer) for topic, answer in answers.items()]
        if (alarm := self._disk.look()) is not None:
            told.append(Outgoing(own_topic(self, Channel.ALARM), alarm))
        if about_me is not None or self._is_news(receipt, turn):
            self._last = (turn.t, receipt)
            ranges = None if about_me is None else about_me.ranges
            told.append(Outgoing(own, receipt.model_copy(update={"ranges": ranges})))
        return told

    def _is_news(self, receipt: Receipt, turn: Turn) -> bool:
        if self._last is None:
            return True
        at, last = self._last
        return receipt != last and turn.t - at >= _RECEIPT_PERIOD

    def _answers(self, turn: Turn) -> dict[Topic, Receipt]:
        """To those who keep what they send until it is stored, itself among them."""
        period = max(_RECEIPT_PERIOD, timedelta(seconds=_RECEIPT_LEAST_S * turn.pace))
        over = turn.t_end is not None and turn.t >= turn.t_end
        if self._answered is not None and turn.t - self._answered < period and not over:
            return {}
        self._answered = turn.t
        return self._inbox.receipts()

    def snapshot(self) -> Json:
        """Which run it is in, and whether its alarm stands; the rest is in the history.

        A repeated commit is without effect.
        """
        return {"run": self._inbox.run, "live": self._inbox.live, "disk_low": self._disk.active}

    def restore(self, state: Json) -> None:
        self._last = self._answered = None
        self._disk.active = state.get("disk_low", False)  # a checkpoint of an earlier version has none
        if state["run"] is not None:
            self._inbox.enter(state["run"], live=state["live"])
