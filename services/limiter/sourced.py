"""The limiter of a source that is heard all the time: contacts of a relay, a server of the grid operator."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from schemas.messages import Alarm, Birth, Limit, Phase, ServiceNameplate, Severity, TimeMode
from schemas.participant import Cadence, Json, Outgoing, Received, Source, Turn, own_topic, software
from schemas.site.limits import LimitSource
from schemas.topics import Channel, Kind
from services.limiter.window import Heard, Window

SILENT, TROUBLE = "limit_source_silent", "limit_source_trouble"
"""Codes of alarms: the source is not heard; what it says, or a part of it, cannot be used."""


class SourcedLimiter:
    """Publishes the window that holds now, or else the next one, and repeats it as its heartbeat.

    The heartbeat stands for the source: while that is not heard for ``max_age_s``, a window without an end, and the
    absence of one, is not repeated any more, so that the failsafe holds after two periods. A window with an end is
    known until then, and is repeated whether the source is heard or not; then the failsafe holds.
    """

    kind = Kind.LIMITER

    def __init__(self, site: str, device: str, described: LimitSource, source: Source, max_age_s: float) -> None:
        self.site, self.device = site, device
        self.sources = (source,)
        self._described = described
        self._max_age_s = max_age_s
        self._pace = 1.0
        self._windows: tuple[Window, ...] = ()
        self._heard_at: datetime | None = None
        self._begun: datetime | None = None
        """Of this life: from when on the source is waited for."""
        self._trouble = ""
        self._limit: Limit | None = None
        """As it was published last."""
        self._raised: dict[str, str] = {}
        """Texts of the alarms that stand."""

    @property
    def subscriptions(self) -> tuple[str, ...]:
        return ()

    @property
    def cadence(self) -> Mapping[Phase, Cadence]:
        return {Phase.SENSE: Cadence(period_s=self._described.heartbeat_s), Phase.APPLY: Cadence(on_message=True)}

    def birth(self) -> Birth:
        return Birth(nameplate=ServiceNameplate(), time_modes=(TimeMode.WALL,), software=software())

    def act(self, turn: Turn, inbox: Sequence[Received]) -> list[Outgoing]:
        del inbox
        self._pace = turn.pace
        for given in turn.inputs:
            assert isinstance(given.value, Heard)
            self._trouble = given.value.trouble
            if given.value.windows is not None:
                self._windows, self._heard_at = given.value.windows, given.at
        if self._begun is None:
            self._begun = turn.t
        sent = self._alarms(turn.t)
        limit, repeated = self._wanted(turn.t)
        if limit is not None and (limit != self._limit or (repeated and turn.phase is Phase.SENSE)):
            self._limit = limit
            sent.append(Outgoing(own_topic(self, Channel.LIMIT), limit))
        return sent

    def wake_at(self, now: datetime) -> datetime | None:
        """At the begin or end of a window, and when the source is no longer heard."""
        edges = [edge for window in self._windows for edge in (window.begins, window.ends) if edge is not None]
        return min((edge for edge in (*edges, self._silent_from) if edge is not None and edge > now), default=None)

    @property
    def _silent_from(self) -> datetime | None:
        since = self._heard_at or self._begun
        return None if since is None else since + timedelta(seconds=self._max_age_s * self._pace)

    def _wanted(self, now: datetime) -> tuple[Limit | None, bool]:
        """The limit that holds, and whether it is repeated. None: that which was published last, by whatever life."""
        silent = self._is_silent(now)
        active = next((each for each in self._windows if each.holds_at(now)), None)
        if active is not None and active.ends is not None:
            return self._message(active, now), True
        if not silent and self._heard_at is not None:
            following = (each for each in self._windows if each.begins is not None and each.begins > now)
            return self._message(active or next(following, Window()), now), True
        if not silent:
            return None, False  # not heard yet: what an earlier life published is not taken back
        if self._limit is not None and self._limit.valid_until is None and self._limit.valid_from <= now:
            return None, False  # its failsafe comes by itself
        return self._message(Window(), now), False

    def _message(self, window: Window, now: datetime) -> Limit:
        described = self._described
        limit = Limit(
            group=described.group,
            source=window.source or described.source or self.device,
            valid_from=window.begins or now,
            valid_until=window.ends,
            import_kw=window.import_kw,
            export_kw=window.export_kw,
            heartbeat_s=described.heartbeat_s,
            failsafe_import_kw=described.failsafe_import_kw,
            failsafe_export_kw=described.failsafe_export_kw,
        )
        last = self._limit
        if window.begins is None and last is not None and last.valid_from <= now:
            # A limit that goes on is the same one: it begins when it began.
            same = limit.model_copy(update={"valid_from": last.valid_from})
            return last if same == last else limit
        return limit

    def _is_silent(self, now: datetime) -> bool:
        silent_from = self._silent_from
        return silent_from is not None and now >= silent_from

    def _alarms(self, now: datetime) -> list[Outgoing]:
        found: dict[str, str] = {}
        if self._is_silent(now):
            since = "has not been heard yet" if self._heard_at is None else "is not heard any more"
            found[SILENT] = f"the source of limits {self.device} {since}: {self._trouble or 'it is silent'}"
        if self._trouble:
            found[TROUBLE] = f"{self.device}: {self._trouble}"
        codes = {**found, **self._raised}
        changed = {code: found.get(code) for code in codes if found.get(code) != self._raised.get(code)}
        self._raised = found
        topic = own_topic(self, Channel.ALARM)
        return [Outgoing(topic, self._alarm(code, text)) for code, text in sorted(changed.items())]

    def _alarm(self, code: str, text: str | None) -> Alarm:
        said = (text or f"over: {self.device} is heard, and understood")[:500]
        return Alarm(code=code, severity=Severity.WARNING, active=text is not None, element=self.device, text=said)

    def snapshot(self) -> Json:
        return {
            "windows": [json.loads(window.model_dump_json()) for window in self._windows],
            "heard_at": self._heard_at and self._heard_at.isoformat(),
            "begun": self._begun and self._begun.isoformat(),
            "trouble": self._trouble,
            "limit": None if self._limit is None else json.loads(self._limit.model_dump_json()),
            "raised": dict(sorted(self._raised.items())),
        }

    def restore(self, state: Json) -> None:
        self._windows = tuple(Window.model_validate_json(json.dumps(window)) for window in state["windows"])
        self._heard_at = state["heard_at"] and datetime.fromisoformat(state["heard_at"])
        self._begun = state["begun"] and datetime.fromisoformat(state["begun"])
        self._trouble = state["trouble"]
        self._limit = None if state["limit"] is None else Limit.model_validate_json(json.dumps(state["limit"]))
        self._raised = dict(state["raised"])
