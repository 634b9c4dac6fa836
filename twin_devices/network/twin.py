"""The network twin: solves the site's network for what the devices tell, and is the meter at the PCC."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import pairwise

from schemas.errors import Code, InputError
from schemas.kinds import DEVICE_KINDS
from schemas.messages import (
    Birth,
    MeterNameplate,
    MeterRole,
    MeterTelemetry,
    NetworkTelemetry,
    Phase,
    Segment,
    Telemetry,
    TimeMode,
)
from schemas.participant import Cadence, Json, Outgoing, Received, Turn, own_topic, software
from schemas.plausibility import PowerBounds, bounds_of
from schemas.site import NETWORK, Meter, Site
from schemas.sums import sum_in_order
from schemas.topics import Channel, Kind, topic_filter
from schemas.units import MOST_KW
from twin_devices.energy_meter import HOUR
from twin_devices.metering import DeviceMetering, MeteredInterval, Span, report_of
from twin_devices.network.alarms import Watch
from twin_devices.network.electrical import SiteNetwork
from twin_devices.network.phase_history import PhaseHistory
from twin_devices.network.registers import LateTelemetry, Registers
from twin_devices.network.wall import PERIODS_UNTIL_MISSING, Told, absent, watermark
from twin_devices.physics.load import power_factor_of
from twin_devices.physics.power_flow import Injection, Solution
from twin_devices.scenario import LyingMeter, Script

PERIOD_S = 10.0


@dataclass(frozen=True, slots=True)
class _Interval:
    """The devices' powers in [start, end), and at its end."""

    start: datetime
    end: datetime
    spans: Mapping[str, Sequence[Span]]
    now_kw: Mapping[str, float]
    missing: tuple[str, ...]
    devices_kwh: float
    """By their registers."""
    reset: tuple[str, ...] = ()
    """Devices a register of which fell within a life."""
    doubts: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Why what was told is doubtful, falls of registers apart, by device that told something."""


@dataclass(frozen=True, slots=True)
class _Part:
    """A part of the interval in which nothing changes."""

    start: datetime
    end: datetime
    injection: Injection


class NetworkTwin:
    """The PCC of the simulated site: sum of the devices' power, plus what cables and transformer lose.

    A meter with the role ``submeter`` measures a part of what another meter tells, and one with the role ``pcc`` the
    sum; both load no node. A device that the site does not know hangs at the main node, with an alarm.

    Lock-step: each cycle is settled as the devices' segments tell it. Wall time: what it publishes is about the
    *watermark*, the instant up to which all have told (`twin_devices.network.wall`), which is its message's ``ts``.
    """

    kind = Kind.NETWORK
    device = NETWORK

    def __init__(self, site: Site) -> None:
        """Raises InputError for a network that cannot be solved."""
        self.site = site.site
        self._description = site
        try:
            self._network = SiteNetwork(site)
        except ValueError as error:
            raise InputError.one("network", str(error), code=Code.CONFLICT) from None
        self._metering: dict[str, DeviceMetering] = {}
        """Lock-step."""
        self._told: dict[str, Told] = {}
        """Wall time."""
        self._expected: dict[str, datetime] = {}
        """Wall time: devices that were born and have not told yet, and when we met them."""
        self._late = LateTelemetry()
        """Wall time."""
        self._roles: dict[str, MeterRole] = {
            name: device.role for name, device in site.devices.items() if isinstance(device, Meter)
        }
        self._periods: dict[str, float] = {name: device.telemetry_period_s for name, device in site.devices.items()}
        self._bounds: dict[str, PowerBounds | None] = {
            name: bounds_of(device.nameplate, site) for name, device in site.devices.items()
        }
        """What the devices may draw and give at most."""
        self._watch = Watch(site.network.voltage_min_pu, site.network.voltage_max_pu)
        self._begin: datetime | None = None
        self._at: datetime | None = None
        """Up to which it has settled."""
        self._spoke = False
        self._registers = Registers()
        """Energy counted in this life [kWh]. It has the same bits whatever the meter had counted before."""
        self._phase_history = PhaseHistory()
        self._script = Script(site.scenario, self.kind, self.device)
        self._published = LyingMeter(self._script)
        self._base_kwh: dict[str, float] = {}
        """The registers before this life [kWh], by their names in telemetry."""

    @property
    def subscriptions(self) -> tuple[str, ...]:
        devices = tuple(
            topic_filter(self.site, kind, channel=channel)
            for kind in DEVICE_KINDS
            for channel in (Channel.BIRTH, Channel.TELEMETRY)
        )
        return (*devices, topic_filter(self.site, self.kind, self.device, Channel.EVENT))

    @property
    def cadence(self) -> Mapping[Phase, Cadence]:
        return {Phase.MEASURE: Cadence(period_s=PERIOD_S, on_message=True)}

    def birth(self) -> Birth:
        return Birth(
            nameplate=MeterNameplate(role=MeterRole.PCC),
            telemetry_period_s=PERIOD_S,
            time_modes=(TimeMode.LOCKSTEP, TimeMode.WALL),
            software=software(),
        )

    def act(self, turn: Turn, inbox: Sequence[Received]) -> list[Outgoing]:
        if self._at is None:
            self._begin = self._at = turn.t
        for received in inbox:
            if isinstance(received.body, Birth):
                self._meet(received.topic.device, received.body, turn.t)
        if turn.phase is not Phase.MEASURE:
            return []
        events = [*self._script.receive(inbox, turn.t), *self._script.over(turn.t)]
        alarms = [Outgoing(own_topic(self, Channel.ALARM), alarm) for alarm in events]
        told = self._telemetry_in(inbox)
        self._phase_history.receive(told)
        if turn.mode is TimeMode.WALL:
            return [*alarms, *self._measure_wall(told, turn)]
        return [*alarms, *self._measure(told, self._at, max(turn.t, self._at))]

    @property
    def registers(self) -> dict[str, float]:
        """The meter's registers [kWh], by their names in telemetry. They go on in the next life."""
        # A next life knows nothing of what this one still carries.
        return self._on_base(self._registers.paid)

    def _on_base(self, energies: tuple[float, float]) -> dict[str, float]:
        imported, exported = energies
        return {
            "energy_import_kwh": self._base_kwh.get("energy_import_kwh", 0.0) + imported,
            "energy_export_kwh": self._base_kwh.get("energy_export_kwh", 0.0) + exported,
            "losses_kwh": self._base_kwh.get("losses_kwh", 0.0) + self._registers.losses_kwh,
        }

    def continue_registers(self, registers: Mapping[str, float]) -> None:
        """Counts on from the registers of an earlier life. To be called before the first turn."""
        self._base_kwh = dict(registers)

    def snapshot(self) -> Json:
        return {
            "begin": None if self._begin is None else self._begin.isoformat(),
            "at": None if self._at is None else self._at.isoformat(),
            "spoke": self._spoke,
            "registers": self._registers.snapshot(),
            "base_kwh": dict(self._base_kwh),
            "metering": {name: metering.snapshot() for name, metering in sorted(self._metering.items())},
            "told": {name: told.snapshot() for name, told in sorted(self._told.items())},
            "expected": {name: met.isoformat() for name, met in sorted(self._expected.items())},
            "late": self._late.snapshot(),
            "roles": {name: role.value for name, role in sorted(self._roles.items())},
            "periods": dict(sorted(self._periods.items())),
            "watch": self._watch.snapshot(),
            "events": self._script.snapshot(),
            "published": self._published.snapshot(),
            "phases": self._phase_history.snapshot(),
        }

    def restore(self, state: Json) -> None:
        self._begin = None if state["begin"] is None else datetime.fromisoformat(state["begin"])
        self._at = None if state["at"] is None else datetime.fromisoformat(state["at"])
        self._spoke = state["spoke"]
        self._registers.restore(state["registers"])
        self._base_kwh = dict(state["base_kwh"])
        self._metering = {name: DeviceMetering.restored(metering) for name, metering in state["metering"].items()}
        self._told = {name: Told.restored(told) for name, told in state["told"].items()}
        self._expected = {name: datetime.fromisoformat(met) for name, met in state["expected"].items()}
        self._late = LateTelemetry.restored(state["late"])
        self._roles = {name: MeterRole(role) for name, role in state["roles"].items()}
        self._periods = dict(state["periods"])
        self._watch.restore(state["watch"])
        self._script.restore(state["events"])
        self._published.restore(state["published"])
        self._phase_history.restore(state.get("phases", {}))  # a checkpoint of an earlier version has none

    # Messages.

    def _meet(self, device: str, birth: Birth, at: datetime) -> None:
        if isinstance(birth.nameplate, MeterNameplate):
            self._roles[device] = birth.nameplate.role
        self._bounds[device] = bounds_of(birth.nameplate, self._description)
        for known in (self._told.get(device), self._metering.get(device)):
            if known is not None:
                known.bounds = self._bounds[device]
        if birth.telemetry_period_s is not None:
            self._periods[device] = birth.telemetry_period_s
            if device in self._told:
                self._told[device].period_s = birth.telemetry_period_s
        if self._loads_the_network(device) and device not in self._told:
            self._expected.setdefault(device, at)

    def _loads_the_network(self, device: str) -> bool:
        return self._roles.get(device, MeterRole.LOAD) is MeterRole.LOAD

    def _telemetry_in(self, inbox: Sequence[Received]) -> dict[str, list[Received]]:
        """Telemetry of devices that load the network, by device in order."""
        told: dict[str, list[Received]] = {}
        for received in inbox:
            device = received.topic.device
            of_device = isinstance(received.body, Telemetry) and received.topic.kind in DEVICE_KINDS
            if of_device and self._loads_the_network(device):
                told.setdefault(device, []).append(_truth_of(received))
        return dict(sorted(told.items()))

    # Lock-step.

    def _measure(self, told: Mapping[str, Sequence[Received]], start: datetime, end: datetime) -> list[Outgoing]:
        for device in told:
            if device not in self._metering:
                self._metering[device] = DeviceMetering()
                self._metering[device].bounds = self._bounds.get(device)
        devices = sorted(self._metering.items())
        metered: dict[str, MeteredInterval] = {}
        for device, metering in devices:
            metered[device] = metering.integrate([report_of(each) for each in told.get(device, ())], start, end)
        missing = tuple(device for device, _ in devices if device not in told)
        interval = _Interval(
            start,
            end,
            spans={device: _with_unexplained(interval, start, end) for device, interval in metered.items()},
            now_kw={device: 0.0 if device in missing else metering.power_kw for device, metering in devices},
            missing=missing,
            devices_kwh=sum_in_order(interval.net_kwh for interval in metered.values()),
            reset=tuple(device for device, interval in metered.items() if interval.reset),
            doubts={device: interval.doubts for device, interval in metered.items() if device in told},
        )
        return self._settle(interval, lockstep=True)

    # Wall time.

    def _measure_wall(self, told: Mapping[str, Sequence[Received]], turn: Turn) -> list[Outgoing]:
        self._hear(told, turn.pace)
        reached, missing = self._reached(turn)
        if reached is None:
            return []
        assert self._at is not None
        ends = {reached}
        if not self._spoke:
            ends.add(self._at)  # the first word is about the beginning: registers count from there for everybody
        self._spoke = True
        # An absence begins with an instant of its own, so that what is metered without the device is known.
        ends |= {self._told[name].newest for name in missing if self._at < self._told[name].newest < reached}
        ordered = sorted(ends)
        return [
            message
            for end in ordered
            for message in self._settle_wall(end, missing, closing=turn.closing and end == ordered[-1])
        ]

    def _settle_wall(self, end: datetime, missing: tuple[str, ...], *, closing: bool) -> list[Outgoing]:
        assert self._at is not None
        devices = sorted(self._told.items())
        corrected = self._registers.corrected
        for name, device in devices:
            if name in missing and device.absent_since is None and device.newest < end:
                device.absent_since = corrected
        spans = {name: device.spans(self._at, end) for name, device in devices}
        interval = _Interval(
            self._at,
            end,
            spans,
            now_kw={name: device.power_kw(end) for name, device in devices},
            missing=missing,
            devices_kwh=sum_in_order(span.energy_kwh for each in spans.values() for span in each),
            reset=tuple(name for name, device in devices if device.reset_between(self._at, end)),
            doubts={
                name: device.doubts_between(self._at, end)
                for name, device in devices
                if device.heard_between(self._at, end)
            },
        )
        sent = self._settle(interval, lockstep=False, closing=closing)
        for _, device in devices:
            device.forget(end)
        return sent

    def _hear(self, told: Mapping[str, Sequence[Received]], pace: float) -> None:
        assert self._begin is not None and self._at is not None
        for name, messages in told.items():
            for received in messages:
                device = self._told.get(name)
                if device is None:
                    self._told[name] = Told.first(self._periods.get(name, PERIOD_S), received, pace)
                    self._told[name].bounds = self._bounds.get(name)
                    self._expected.pop(name, None)
                    continue
                energy_kwh = device.hear(received, self._begin, self._at, pace)
                self._late.add(energy_kwh, device.absent_since or self._registers.corrected)
                if device.newest >= self._at:
                    device.absent_since = None

    def _reached(self, turn: Turn) -> tuple[datetime | None, tuple[str, ...]]:
        """The watermark, if it lies further than what is settled; and who is absent."""
        assert self._at is not None
        self._expected = {
            name: met
            for name, met in self._expected.items()
            if turn.t - met <= PERIODS_UNTIL_MISSING * timedelta(seconds=self._periods.get(name, PERIOD_S))
        }
        missing = absent(self._told, turn.t, turn.pace)
        if turn.closing:
            return self._closed_at(turn.t)
        if self._expected:
            return None, missing
        present = [device.newest for name, device in self._told.items() if name not in missing]
        end = watermark(present, turn.t, self._at, turn.t_end)
        return (end if end > self._at or not self._spoke else None), missing

    def _closed_at(self, end: datetime) -> tuple[datetime | None, tuple[str, ...]]:
        """The end of the run, if anything is left to be said of it; and who has not told up to there."""
        assert self._at is not None
        end = max(end, self._at)
        missing = tuple(name for name, device in sorted(self._told.items()) if device.newest < end)
        left = end > self._at or not self._spoke or self._late.waits or any(self._registers.carried)
        return (end if left else None), missing

    # Both.

    def _settle(self, interval: _Interval, *, lockstep: bool, closing: bool = False) -> list[Outgoing]:
        parts = list(self._parts(interval))
        instant = self._network.injection(interval.now_kw, self._phase_history.on_one(interval.end))
        solutions = self._network.solve([*(part.injection for part in parts), instant])
        registers = self._registers
        before_kwh, losses_before_kwh = registers.import_kwh - registers.export_kwh, registers.losses_kwh
        # What was carried before is in the residuals of earlier telemetries; what pays for it is in this one's.
        late_kwh = self._late.correct(registers)
        for part, solution in zip(parts, solutions[:-1], strict=True):
            hours = (part.end - part.start) / HOUR
            registers.integrate(solution.pcc_kw * hours)
            if solution.is_estimate:
                registers.add_estimated_losses(solution.losses_kw * hours, (part.end - part.start).total_seconds())
            else:
                registers.add_losses(solution.losses_kw * hours)
        if closing:
            registers.pay()
        self._at = interval.end
        self._phase_history.drop_before(interval.end)
        pcc_kwh = registers.import_kwh - registers.export_kwh - before_kwh
        losses_kwh = registers.losses_kwh - losses_before_kwh
        telemetry = self._telemetry(
            solutions[-1],
            residual_kwh=pcc_kwh - (interval.devices_kwh + late_kwh) - losses_kwh,
            segments=_segments(parts, solutions) if lockstep else None,
            missing=interval.missing,
        )
        known = self._metering if lockstep else self._told
        unknown = [device for device in known if device not in self._description.devices]
        flow = self._network.flow
        alarms = [
            *self._watch.devices(sorted(unknown), self._description.network.main_node),
            *self._watch.resets(interval.reset),
            *self._watch.doubts(interval.doubts),
            *self._watch.network(solutions, flow.nodes, flow.branches),
        ]
        ts = None if lockstep else interval.end
        return [
            Outgoing(own_topic(self, Channel.TELEMETRY), telemetry, ts),
            *(Outgoing(own_topic(self, Channel.ALARM), alarm, ts) for alarm in alarms),
        ]

    def _telemetry(
        self, now: Solution, residual_kwh: float, segments: tuple[Segment, ...] | None, missing: tuple[str, ...]
    ) -> NetworkTelemetry:
        flow = self._network.flow
        registers = self._on_base((self._registers.import_kwh, self._registers.export_kwh))
        loadings: dict[str, float] = {}
        losses: dict[str, float] = {}
        for name, loading, lost in zip(flow.branches, now.loadings_frac, now.branch_losses_kw, strict=False):
            # Cables in parallel between the same nodes share a name; the most loaded one counts, losses add up.
            loadings[name] = max(loading, loadings.get(name, 0.0))
            losses[name] = losses.get(name, 0.0) + lost
        phases = dict(zip(flow.nodes, now.phase_voltages_pu, strict=False))
        telemetry = NetworkTelemetry(
            power_kw=_on_the_wire(now.pcc_kw),
            energy_import_kwh=registers["energy_import_kwh"],
            energy_export_kwh=registers["energy_export_kwh"],
            reactive_kvar=_on_the_wire(now.pcc_kvar),
            # Where no voltages carry the load nothing is known of the reactive power.
            power_factor=power_factor_of(now.pcc_kw, now.pcc_kvar) if now.voltages_pu else None,
            phase_power_kw=tuple(map(_on_the_wire, now.phase_pcc_kw)) or None,
            segments=segments,
            losses_kw=_on_the_wire(now.losses_kw),
            losses_kwh=registers["losses_kwh"],
            residual_kwh=residual_kwh,
            voltages_pu=dict(zip(flow.nodes, now.voltages_pu, strict=False)),
            loadings_frac=loadings,
            element_losses_kw=losses,
            phase_voltages_pu=phases or None,
            estimated_losses_kwh=self._registers.estimated_losses_kwh if self._registers.unsolved_s else None,
            unsolved_s=self._registers.unsolved_s or None,
            missing=missing,
        )
        assert self._at is not None
        return self._published.publishes(telemetry, self._at)

    def _parts(self, interval: _Interval) -> Iterable[_Part]:
        """The interval, cut wherever the power of a device changes."""
        start, end = interval.start, interval.end
        if end <= start:
            return
        changes: dict[datetime, dict[str, float]] = {start: {}, end: {}}
        for device, told in interval.spans.items():
            for span in told:
                changes.setdefault(span.start, {})[device] = span.power_kw
                # Between its spans nothing flows; a span that follows at once has the last word.
                changes.setdefault(span.end, {}).setdefault(device, 0.0)
        power_kw = dict.fromkeys(interval.spans, 0.0)
        for begin, until in pairwise(sorted(changes)):
            power_kw.update(changes[begin])
            yield _Part(begin, until, self._network.injection(power_kw, self._phase_history.on_one(begin)))


def _truth_of(received: Received) -> Received:
    """The telemetry with what really flows, where the scenario lets a meter lie: the network knows no lies."""
    body = received.body
    if not isinstance(body, MeterTelemetry) or body.actual is None:
        return received
    return replace(received, body=body.model_copy(update=body.actual._asdict()))


def _with_unexplained(interval: MeteredInterval, start: datetime, end: datetime) -> tuple[Span, ...]:
    """Energy that no telemetry explains flows evenly over the interval in which the device is there again."""
    unexplained_kwh = interval.unexplained_kwh
    if not unexplained_kwh or end <= start:
        return interval.spans
    extra_kw = unexplained_kwh / ((end - start) / HOUR)
    whole: list[Span] = []
    at = start
    for span in interval.spans:
        if span.start > at:
            whole.append(Span(at, span.start, extra_kw))
        whole.append(Span(span.start, span.end, span.power_kw + extra_kw))
        at = span.end
    if at < end:
        whole.append(Span(at, end, extra_kw))
    return tuple(whole)


def _on_the_wire(kw: float) -> float:
    """Cut at what a power may be: devices that report as much as that, each, are not to end the PCC meter."""
    return min(max(kw, -MOST_KW), MOST_KW)


def _segments(parts: Sequence[_Part], solutions: Sequence[Solution]) -> tuple[Segment, ...]:
    segments: list[Segment] = []
    for part, solution in zip(parts, solutions, strict=False):
        if not segments or segments[-1].power_kw != solution.pcc_kw:
            segments.append(Segment(part.start, _on_the_wire(solution.pcc_kw)))
    return tuple(segments)
