"""The system state as the EMS knows it from messages: devices, measurements and series."""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from schemas.limits import Limits
from schemas.messages import (
    Birth,
    ExpectedChargingSession,
    Limit,
    MeterNameplate,
    Presence,
    Quantity,
    Request,
    Series,
    State,
    Telemetry,
    TimeMode,
    ValueSeries,
)
from schemas.participant import Json, Received, Turn
from schemas.plausibility import series_age_doubt, session_is_past
from schemas.presence import STALE_PERIODS, lag_s
from schemas.topics import Channel, Kind
from schemas.wire import body_type
from services.ems.departure_history import DepartureHistory
from services.ems.requests import Requests

_PRICES = (Quantity.PURCHASE_PRICE, Quantity.SALE_PRICE, Quantity.CO2_INTENSITY)


@dataclass(frozen=True, slots=True)
class Departed:
    """The vehicle that was at the plug last and is gone, whatever time it had announced."""

    vehicle: str | None
    arrival: datetime
    gone: datetime
    """First telemetry without it."""

    def ends(self, session: ExpectedChargingSession) -> bool:
        """Whether an expected session is over with this: its vehicle was there, or it was due when this one came."""
        known = self.vehicle is not None and session.vehicle == self.vehicle
        return session.arrival <= self.arrival or (known and session.arrival <= self.gone)


@dataclass(frozen=True, slots=True)
class Plugged:
    """When a charging session began, and the charger's registers [kWh] in the first telemetry of it."""

    since: datetime
    import_kwh: float | None
    export_kwh: float | None


@dataclass(frozen=True, slots=True)
class Counted:
    """AC energies that a charger counted since a vehicle was plugged; None: it counts nothing."""

    since: datetime
    charged_kwh: float | None
    discharged_kwh: float | None


@dataclass(frozen=True, slots=True)
class DeviceState:
    """A device with power, as its messages tell."""

    kind: Kind
    boot: str
    birth: Birth
    telemetry: Telemetry | None = None
    """As it was told; its segments are for the recorder, and no part of the state."""
    telemetry_ts: datetime | None = None
    """By its own clock."""
    telemetry_n: int = -1
    """Lock-step cycle in which it was handed over."""
    met: datetime | None = None
    """Wall time: when its birth was received, by the EMS' clock."""
    heard: datetime | None = None
    """Wall time: when its newest telemetry was received, by the EMS' clock."""
    lags_s: tuple[float, ...] = ()
    """Wall time: from the ``ts`` of its newest telemetries to their arrival, at most `LAGS` of them."""
    departed: Departed | None = None
    """Chargers only."""
    plugged: Plugged | None = None
    """Chargers with a vehicle only."""

    @property
    def counted(self) -> Counted | None:
        """Energies of the charging session: by its own counters, else by registers; None without a vehicle."""
        body, plugged = self.telemetry, self.plugged
        vehicle = None if body is None else body.plugged
        if body is None or vehicle is None or plugged is None:
            return None
        charged, discharged = vehicle.charged_kwh, vehicle.discharged_kwh
        if charged is None:
            charged = _gained(plugged.import_kwh, body.energy_import_kwh)
            discharged = _gained(plugged.export_kwh, body.energy_export_kwh) if discharged is None else discharged
        return Counted(plugged.since, charged, discharged)


LAGS = 3
"""So many telemetries in a row say that a clock is behind; delays come and go."""


@dataclass(frozen=True, slots=True)
class LastWill:
    """The last state of a device that was not ``online``, and whose."""

    boot: str
    state: Presence


class SystemState:
    """State that grows by `learn` and survives as JSON."""

    def __init__(self, departures: DepartureHistory | None = None) -> None:
        """``departures``: where sessions that end are remembered; None: nowhere."""
        self.departures = departures
        self._devices: dict[str, DeviceState] = {}
        self._last_wills: dict[str, LastWill] = {}
        self._series: dict[str, Series] = {}
        self._series_json: dict[str, Json] = {}
        self._values: Mapping[Quantity, Sequence[ValueSeries]] = {}
        self._sessions: Mapping[str, Sequence[ExpectedChargingSession]] = {}
        """Both follow from the series, which come once or twice a day and are asked for in every quarter."""
        self.limits = Limits()
        """From outside."""
        self.requests = Requests()
        """Of persons."""
        self._present: tuple[Turn, dict[str, DeviceState]] | None = None
        """The result of the last look-up of a turn, kept until more is known: a decision asks several times."""

    def learn(self, turn: Turn, inbox: Sequence[Received]) -> None:
        """Takes in messages in the order in which they are handed over. Births come before telemetry by topic."""
        self._present = None
        for received in inbox:
            topic, body = received.topic, received.body
            match topic.channel:
                case Channel.BIRTH if isinstance(body, Birth):
                    self._birth(turn, received, body)
                case Channel.STATE if isinstance(body, State):
                    if body.state is Presence.ONLINE:
                        self._last_wills.pop(topic.device, None)
                    else:
                        self._last_wills[topic.device] = LastWill(received.stamp.boot, body.state)
                case Channel.TELEMETRY if isinstance(body, Telemetry):
                    self._telemetry(turn, received, body)
                case Channel.LIMIT if isinstance(body, Limit):
                    self.limits.receive(received)
                case Channel.REQUEST if isinstance(body, Request):
                    self.requests.receive(received)
                case Channel.SERIES if isinstance(body, Series):
                    name = f"{topic.kind}/{topic.device}"
                    self._series[name] = body
                    self._series_json[name] = json.loads(body.model_dump_json())
                    self._sort_series()
                case _:
                    pass

    def _birth(self, turn: Turn, received: Received, birth: Birth) -> None:
        if not birth.capabilities:
            return
        device, kind, boot = received.topic.device, received.topic.kind, received.stamp.boot
        known = self._devices.get(device)
        if known is None or known.boot != boot:
            met = None if turn.mode is TimeMode.LOCKSTEP else max(received.arrived or turn.t, turn.t0)
            self._devices[device] = DeviceState(kind, boot, birth, met=met)
        else:
            self._devices[device] = replace(known, birth=birth)

    def _telemetry(self, turn: Turn, received: Received, body: Telemetry) -> None:
        known = self._devices.get(received.topic.device)
        if known is None or known.boot != received.stamp.boot or known.kind is not received.topic.kind:
            return
        ts = received.stamp.ts
        departed = _departed(known, ts, body)
        if self.departures is not None:
            self.departures.learn(known.telemetry, None if known.plugged is None else known.plugged.since, body, ts)
        state = DeviceState(
            known.kind, known.boot, known.birth, body, ts, turn.n, departed=departed, plugged=_plugged(known, ts, body)
        )
        if turn.mode is TimeMode.WALL:
            arrived = received.arrived or ts
            lags = (*known.lags_s, lag_s(ts, arrived))[-LAGS:]
            state = replace(state, met=known.met, heard=arrived, lags_s=lags)
        self._devices[received.topic.device] = state

    @property
    def devices(self) -> Mapping[str, DeviceState]:
        """All devices whose birth is known, by name, present or not."""
        return self._devices

    def goodbye(self, name: str) -> Presence | None:
        """``offline`` or ``fault`` if the device said so, or its last will did, in the life that is known."""
        will, known = self._last_wills.get(name), self._devices.get(name)
        return will.state if will is not None and known is not None and will.boot == known.boot else None

    def present(self, turn: Turn) -> dict[str, DeviceState]:
        """Devices to plan with, by name.

        Lock-step: those whose telemetry was handed over in this cycle. Wall time: those from which telemetry was
        received within three of its periods, by the EMS' clock. In both, the same boot must not have said offline or
        fault.
        """
        if self._present is None or self._present[0] is not turn:
            there = {n: known for n, known in sorted(self._devices.items()) if self._is_present(n, known, turn)}
            self._present = (turn, there)
        return self._present[1]

    def _is_present(self, name: str, known: DeviceState, turn: Turn) -> bool:
        if self.goodbye(name) is not None or known.telemetry is None:
            return False
        if turn.mode is TimeMode.LOCKSTEP:
            return known.telemetry_n == turn.n
        period = known.birth.telemetry_period_s
        if period is None or known.heard is None:
            return False
        return (turn.t - known.heard).total_seconds() < STALE_PERIODS * period

    def values(self, quantity: Quantity) -> Sequence[ValueSeries]:
        """All series of values of one quantity, by sender."""
        return self._values.get(quantity, ())

    def sessions(self, charger: str) -> Sequence[ExpectedChargingSession]:
        """All sessions that are expected on one charger, by sender."""
        return self._sessions.get(charger, ())

    def leave_out_old_series(self, now: datetime) -> dict[str, str]:
        """Leaves out forecasts that are too old to be continued, until others come. Returns why, by what is missing.

        Prices are not forecasts: they have a bound of their own, ``ems.price_extension_h``.
        """
        old: dict[tuple[Quantity, str | None], str] = {}
        fresh: set[tuple[Quantity, str | None]] = set()
        for told in self._series.values():
            for series in told.series:
                about = (series.quantity, series.device)
                doubt = None if series.quantity in _PRICES else series_age_doubt(series, now)
                if doubt is None:
                    fresh.add(about)
                else:
                    old[about] = doubt
        if old:
            self._sort_series()
            self._values = {
                quantity: [s for s in found if quantity in _PRICES or series_age_doubt(s, now) is None]
                for quantity, found in self._values.items()
            }
        past = [s for found in self._sessions.values() for s in found if session_is_past(s, now)]
        if past:
            self._sessions = {
                charger: [s for s in found if not session_is_past(s, now)] for charger, found in self._sessions.items()
            }
        return {
            f"age of {quantity}" + ("" if device is None else f" of {device}"): why
            for (quantity, device), why in old.items()
            if (quantity, device) not in fresh
        }

    def _sort_series(self) -> None:
        values, sessions = defaultdict(list), defaultdict(list)
        for _, told in sorted(self._series.items()):
            for series in told.series:
                values[series.quantity].append(series)
            for session in told.charging_sessions:
                sessions[session.charger].append(session)
        self._values, self._sessions = values, sessions

    def snapshot(self) -> Json:
        return {
            "devices": {
                name: {
                    "kind": known.kind.value,
                    "boot": known.boot,
                    "birth": json.loads(known.birth.model_dump_json()),
                    "telemetry": _without_segments(known.telemetry),
                    "ts": None if known.telemetry_ts is None else known.telemetry_ts.isoformat(),
                    "n": known.telemetry_n,
                    "met": None if known.met is None else known.met.isoformat(),
                    "heard": None if known.heard is None else known.heard.isoformat(),
                    "lags_s": list(known.lags_s),
                    "departed": None
                    if (left := known.departed) is None
                    else [left.vehicle, left.arrival.isoformat(), left.gone.isoformat()],
                    "plugged": None
                    if (here := known.plugged) is None
                    else [here.since.isoformat(), here.import_kwh, here.export_kwh],
                }
                for name, known in self._devices.items()
            },
            "last_wills": {name: [will.boot, will.state.value] for name, will in self._last_wills.items()},
            "series": dict(self._series_json),
            "limits": self.limits.snapshot(),
            "requests": self.requests.snapshot(),
            "departures": None if self.departures is None else self.departures.snapshot(),
        }

    def restore(self, state: Json) -> None:
        self._devices = {name: _known(item) for name, item in state["devices"].items()}
        self._last_wills = {
            name: LastWill(boot, Presence(presence)) for name, (boot, presence) in state["last_wills"].items()
        }
        self._series_json = dict(state["series"])
        self._series = {
            name: Series.model_validate_json(json.dumps(series)) for name, series in self._series_json.items()
        }
        self._sort_series()
        self.limits.restore(state["limits"])
        self.requests.restore(state.get("requests", {}))  # a checkpoint of an earlier version has none
        if self.departures is not None and state.get("departures") is not None:
            self.departures.restore(state["departures"])
        self._present = None


def _known(item: Json) -> DeviceState:
    kind = Kind(item["kind"])
    body = body_type(kind, Channel.TELEMETRY)
    telemetry = None if item["telemetry"] is None else body.model_validate_json(json.dumps(item["telemetry"]))
    assert telemetry is None or isinstance(telemetry, Telemetry)
    return DeviceState(
        kind=kind,
        boot=item["boot"],
        birth=Birth.model_validate_json(json.dumps(item["birth"])),
        telemetry=telemetry,
        telemetry_ts=None if item["ts"] is None else datetime.fromisoformat(item["ts"]),
        telemetry_n=item["n"],
        met=_time_or_none(item.get("met")),
        # A checkpoint of an earlier version goes by the sender's time until the next telemetry.
        heard=_time_or_none(item.get("heard", item["ts"])),
        lags_s=tuple(item.get("lags_s", ())),
        departed=None
        if (left := item["departed"]) is None
        else Departed(left[0], datetime.fromisoformat(left[1]), datetime.fromisoformat(left[2])),
        plugged=None if (here := item["plugged"]) is None else Plugged(datetime.fromisoformat(here[0]), *here[1:]),
    )


def _time_or_none(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


def _without_segments(telemetry: Telemetry | None) -> Json:
    return None if telemetry is None else json.loads(telemetry.model_dump_json(exclude={"segments"}))


def _departed(known: DeviceState, ts: datetime, telemetry: Telemetry) -> Departed | None:
    """Who left, seen from the telemetry before and this one."""
    before = None if known.telemetry is None else known.telemetry.plugged
    now = telemetry.plugged
    if before is None or (now is not None and now.continues(before)):
        return known.departed
    since = before.arrival if before.arrival is not None or known.plugged is None else known.plugged.since
    return Departed(before.vehicle, since or ts, ts)


def _plugged(known: DeviceState, ts: datetime, telemetry: Telemetry) -> Plugged | None:
    """The charging session of this telemetry, which may have begun with it."""
    before = None if known.telemetry is None else known.telemetry.plugged
    now = telemetry.plugged
    if now is None:
        return None
    if known.plugged is not None and before is not None and now.continues(before):
        return known.plugged if now.arrival is None else replace(known.plugged, since=now.arrival)
    return Plugged(now.arrival or ts, telemetry.energy_import_kwh, telemetry.energy_export_kwh)


def _gained(before_kwh: float | None, now_kwh: float | None) -> float | None:
    """What a register gained; None where there is none, or it was reset meanwhile."""
    return None if before_kwh is None or now_kwh is None or now_kwh < before_kwh else now_kwh - before_kwh


def meter_role(known: DeviceState) -> str | None:
    """``pcc``, ``load`` or ``submeter``; None for what is no meter."""
    plate = known.birth.nameplate
    return plate.role.value if isinstance(plate, MeterNameplate) else None
