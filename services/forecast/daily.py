"""The participant that publishes a retained series when a run or a live session begins, and at each local midnight."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from datetime import datetime

from schemas.messages import Birth, Phase, Series, ServiceNameplate, TimeMode
from schemas.participant import Cadence, Json, Outgoing, Received, Turn, own_topic, software
from schemas.site import Site, day_start
from schemas.topics import Channel, Kind
from services.forecast.window import Window, days_to_cover, fitting

LOOK_EVERY_S = 900.0
"""Wall time: how often it looks whether a new local day has begun; aligned, so also at midnight itself."""


class DailySeries(ABC):
    """Base of `Forecast` and `Tariff`, which say what the series holds.

    Each message covers the local day and the two that follow (more for a longer rolling horizon), whatever the
    length of the run, so that what is planned for a day does not depend on when the run ends. In lock-step the one
    of a new day goes out at SENSE of the day's first step, hence reaches the EMS before it decides on that step.
    """

    def __init__(self, site: Site, kind: Kind, device: str) -> None:
        self._site = site
        self._kind = kind
        self._device = device
        self._published: datetime | None = None
        """Local midnight that the last message begins with."""

    @property
    def site(self) -> str:
        return self._site.site

    @property
    def kind(self) -> Kind:
        return self._kind

    @property
    def device(self) -> str:
        return self._device

    @property
    def subscriptions(self) -> tuple[str, ...]:
        return ()

    @property
    def cadence(self) -> Mapping[Phase, Cadence]:
        return {Phase.SENSE: Cadence(period_s=LOOK_EVERY_S)}

    def birth(self) -> Birth:
        return Birth(
            nameplate=ServiceNameplate(),
            time_modes=(TimeMode.LOCKSTEP, TimeMode.WALL),
            software=software(),
        )

    def act(self, turn: Turn, inbox: Sequence[Received]) -> list[Outgoing]:
        """The series, at the roll call and at the first SENSE of each local day that is not the run's end."""
        begins = turn.phase is Phase.ROLLCALL
        ended = turn.t_end is not None and turn.t >= turn.t_end
        if not begins and (turn.phase is not Phase.SENSE or ended):
            return []
        midnight = day_start(turn.t, self._site.zone)
        if midnight == self._published and not begins:
            return []
        self._published = midnight

        def build(days: int) -> Series:
            return self._series(Window.of_days(turn.t, days, turn.step_s, self._site.zone))

        series = fitting(build, days_to_cover(self._site.ems), f"{self._kind}/{self._device}")
        return [Outgoing(own_topic(self, Channel.SERIES), series)]

    @abstractmethod
    def _series(self, window: Window) -> Series:
        """Everything that is known about the window."""

    def continue_from(self, before: "DailySeries") -> None:
        """Takes over what ``before`` has learned, which published from other profiles. Nothing here."""
        del before

    def snapshot(self) -> Json:
        return {"published": None if self._published is None else self._published.isoformat()}

    def restore(self, state: Json) -> None:
        published = state["published"]
        self._published = None if published is None else datetime.fromisoformat(published)
