"""A tariff or forecast at a live site, whose profiles are renewed by feeds."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

from schemas.messages import Alarm, Birth, Severity, TimeMode
from schemas.participant import Json, Outgoing, Received, Source, Turn, own_topic
from schemas.plausibility import MAX_CO2_G_PER_KWH, co2_doubt
from schemas.site import Site, TimeProfile
from schemas.site.tariff import MAX_PRICE_EUR_PER_KWH
from schemas.topics import Channel
from schemas.wrapped import Wrapped
from services.feeds.source import PROFILE, FeedAnswer
from services.forecast.daily import DailySeries


class Fed(Wrapped[DailySeries]):
    """The participant that ``make`` builds for a site, for a site whose profiles are those of the latest answers.

    A feed that fails is named by the alarm ``feed_failed`` while its last answer still holds; ``feed_stale`` says that
    the site's own profile holds instead, because there is no answer of now; ``feed_holes`` that values were filled in.
    In wall time only, for what a feed delivers depends on the machine's time.
    """

    def __init__(self, make: Callable[[Site], DailySeries], site: Site, sources: Sequence[Source]) -> None:
        super().__init__(make(site))
        self._make = make
        self._described = site
        self.sources = tuple(sources)
        self._names = tuple(source.name.removeprefix(PROFILE) for source in sources)
        self._answers: dict[str, FeedAnswer] = {}
        self._troubles: dict[str, str] = {}
        self._used: dict[str, TimeProfile] = {}
        self._raised: dict[tuple[str, str], str] = {}

    def birth(self) -> Birth:
        return self.inner.birth().model_copy(update={"time_modes": (TimeMode.WALL,)})

    def act(self, turn: Turn, inbox: Sequence[Received]) -> list[Outgoing]:
        for given in turn.inputs:
            self._take(given.source.removeprefix(PROFILE), given.value)
        alarms, used = self._look(turn.t)
        if used != self._used:
            # One that was just made publishes its series at the next SENSE.
            self._used = used
            profiles = {**self._described.profiles, **used}
            before = self.inner
            self.inner = self._make(self._described.model_copy(update={"profiles": profiles}))
            self.inner.continue_from(before)
        return [*alarms, *self.inner.act(turn, inbox)]

    def _take(self, name: str, answer: Any) -> None:
        assert isinstance(answer, FeedAnswer)
        if answer.trouble is None and (what := self._implausible(name, answer)) is not None:
            answer = answer.model_copy(update={"trouble": what})
        if answer.trouble is not None:
            self._troubles[name] = answer.trouble
        else:
            self._troubles.pop(name, None)
            self._answers[name] = answer

    def _implausible(self, name: str, answer: FeedAnswer) -> str | None:
        if name == self._described.connection.co2_profile:
            wrong = co2_doubt(value for value in answer.values if value is not None)
            if wrong is None:
                return None
            return f"the answer has {wrong:g} g/kWh of CO2, and 0 to {MAX_CO2_G_PER_KWH:g} are allowed"
        if name not in {profile for _, profile in self._described.tariff.profiles_used}:
            return None
        worst = max((value for value in answer.values if value is not None), key=abs, default=0.0)
        if abs(worst) <= MAX_PRICE_EUR_PER_KWH:
            return None
        return (
            f"the answer has a price of {worst:g} €/kWh, and at most ±{MAX_PRICE_EUR_PER_KWH:g} are allowed; "
            "€/MWh need the factor 0.001"
        )

    def _look(self, now: datetime) -> tuple[list[Outgoing], dict[str, TimeProfile]]:
        """The profiles that answers give now, and alarms about what has changed."""
        texts: dict[tuple[str, str], str] = {}
        used: dict[str, TimeProfile] = {}
        for name in self._names:
            trouble = self._troubles.get(name)
            profile, filled = self._profile(name, now)
            if profile is not None:
                used[name] = profile
                if filled:
                    texts["feed_holes", name] = f"{filled} values of {name} are missing and were filled in"
                if trouble is not None:
                    texts["feed_failed", name] = f"{trouble}; the last answer is used"
            else:
                why = trouble or "there is no answer for now"
                texts["feed_stale", name] = f"{why}; the site's own profile {name} is used"
        return self._alarms(texts), used

    def _profile(self, name: str, now: datetime) -> tuple[TimeProfile | None, int]:
        answer = self._answers.get(name)
        reading = None if answer is None else answer.reading
        if answer is None or reading is None:
            return None, 0
        profile, filled = reading.profile(f"feed of {name}")
        fresh = now - answer.received <= timedelta(hours=self._described.feeds[name].max_age_h)
        return (profile, filled) if fresh and profile.begin <= now < profile.end else (None, 0)

    def _alarms(self, texts: dict[tuple[str, str], str]) -> list[Outgoing]:
        """Those that are new, and the end of those that are over."""
        topic = own_topic(self.inner, Channel.ALARM)
        found = []
        for (code, name), text in texts.items():
            if (code, name) not in self._raised:
                found.append(_alarm(code, name, text))
        for code, name in self._raised:
            if (code, name) not in texts:
                found.append(_alarm(code, name, f"over: {name}", active=False))
        self._raised = texts
        return [Outgoing(topic, alarm) for alarm in found]

    def snapshot(self) -> Json:
        return {
            "inner": self.inner.snapshot(),
            "answers": {name: answer.model_dump(mode="json") for name, answer in sorted(self._answers.items())},
            "troubles": dict(sorted(self._troubles.items())),
            "raised": sorted([code, name, text] for (code, name), text in self._raised.items()),
        }

    def restore(self, state: Json) -> None:
        self._answers = {name: FeedAnswer.model_validate(answer) for name, answer in state["answers"].items()}
        self._troubles = dict(state["troubles"])
        self._raised = {(code, name): text for code, name, text in state["raised"]}
        self._used = {}
        self.inner = self._make(self._described)
        self.inner.restore(state["inner"])


def _alarm(code: str, name: str, text: str, *, active: bool = True) -> Alarm:
    return Alarm(code=code, severity=Severity.WARNING, active=active, element=name, text=text[:500])
