"""The network twin: solves the site's network for what the devices tell, and is the meter at the PCC."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise

from schemas.errors import InputError
from schemas.messages import (
    Birth,
    FeederTelemetry,
    MeterNameplate,
    MeterRole,
    Phase,
    Segment,
    Telemetry,
    TimeMode,
)
from schemas.participant import Cadence, Json, Outgoing, Received, Turn, own_topic
from schemas.site import FEEDER, Meter, Site
from schemas.topics import Channel, Kind, topic_filter
from twin_devices.base import software
from twin_devices.bookkeeping import Account, Booking, Report, Span, report_of
from twin_devices.ledger import HOUR
from twin_devices.physics.feeder import Cable, Injection, PowerFlow, Solution, Transformer
from twin_devices.physics.load import reactive_kvar
from twin_devices.watch import Watch

DEVICE_KINDS = (Kind.BESS, Kind.CHARGER, Kind.METER, Kind.PV)
PERIOD_S = 10.0
DELAY_S = 1.0
"""Wall time: after the devices' aligned instants, for their telemetry to arrive."""

TRANSFORMER = "transformer"
_GREATEST_KW = 1e6


@dataclass(frozen=True, slots=True)
class _Part:
    """A part of the interval in which nothing changes."""

    start: datetime
    end: datetime
    injection: Injection


class Feeder:
    """The PCC of the simulated site: sum of the devices' power, plus what cables and transformer lose.

    A meter with the role ``submeter`` measures a part of what another meter tells, and one with the role ``pcc`` the
    sum; both load no node. A device that the site does not know hangs at the main node, with an alarm.
    """

    kind = Kind.FEEDER
    device = FEEDER

    def __init__(self, site: Site) -> None:
        """Raises InputError for a network that cannot be solved."""
        self.site = site.site
        self._description = site
        try:
            self._flow = power_flow_of(site)
        except ValueError as error:
            raise InputError.one("network", str(error)) from None
        self._node = {node: i for i, node in enumerate(self._flow.nodes)}
        self._accounts: dict[str, Account] = {}
        self._roles: dict[str, MeterRole] = {
            name: device.role for name, device in site.devices.items() if isinstance(device, Meter)
        }
        self._periods: dict[str, float] = {name: device.telemetry_period_s for name, device in site.devices.items()}
        self._watch = Watch(site.network.voltage_min_pu, site.network.voltage_max_pu)
        self._at: datetime | None = None
        self._import_kwh = 0.0
        self._export_kwh = 0.0
        self._losses_kwh = 0.0

    @property
    def subscriptions(self) -> tuple[str, ...]:
        return tuple(
            topic_filter(self.site, kind, channel=channel)
            for kind in DEVICE_KINDS
            for channel in (Channel.BIRTH, Channel.TELEMETRY)
        )

    @property
    def cadence(self) -> Mapping[Phase, Cadence]:
        return {Phase.MEASURE: Cadence(period_s=PERIOD_S, delay_s=DELAY_S)}

    def birth(self) -> Birth:
        return Birth(
            nameplate=MeterNameplate(role=MeterRole.PCC),
            telemetry_period_s=PERIOD_S,
            time_modes=(TimeMode.LOCKSTEP, TimeMode.WALL),
            software=software(),
        )

    def act(self, turn: Turn, inbox: Sequence[Received]) -> list[Outgoing]:
        if self._at is None:
            self._at = turn.t
        for received in inbox:
            if isinstance(received.body, Birth):
                self._meet(received.topic.device, received.body)
        if turn.phase is not Phase.MEASURE:
            return []
        reports = self._reports(inbox)
        return self._measure(reports, self._at, max(turn.t, self._at), wall=turn.mode is TimeMode.WALL)

    def snapshot(self) -> Json:
        return {
            "at": None if self._at is None else self._at.isoformat(),
            "import_kwh": self._import_kwh,
            "export_kwh": self._export_kwh,
            "losses_kwh": self._losses_kwh,
            "accounts": {name: account.snapshot() for name, account in sorted(self._accounts.items())},
            "roles": {name: role.value for name, role in sorted(self._roles.items())},
            "periods": dict(sorted(self._periods.items())),
            "watch": self._watch.snapshot(),
        }

    def restore(self, state: Json) -> None:
        self._at = None if state["at"] is None else datetime.fromisoformat(state["at"])
        self._import_kwh = state["import_kwh"]
        self._export_kwh = state["export_kwh"]
        self._losses_kwh = state["losses_kwh"]
        self._accounts = {name: Account.restored(account) for name, account in state["accounts"].items()}
        self._roles = {name: MeterRole(role) for name, role in state["roles"].items()}
        self._periods = dict(state["periods"])
        self._watch.restore(state["watch"])

    # Messages.

    def _meet(self, device: str, birth: Birth) -> None:
        if isinstance(birth.nameplate, MeterNameplate):
            self._roles[device] = birth.nameplate.role
        if birth.telemetry_period_s is not None:
            self._periods[device] = birth.telemetry_period_s
            if device in self._accounts:
                self._accounts[device].period_s = birth.telemetry_period_s

    def _reports(self, inbox: Sequence[Received]) -> dict[str, list[Report]]:
        """Telemetry of devices that load the network, by device."""
        reports: dict[str, list[Report]] = {}
        for received in inbox:
            device = received.topic.device
            if not isinstance(received.body, Telemetry) or received.topic.kind not in DEVICE_KINDS:
                continue
            if self._roles.get(device, MeterRole.LOAD) is not MeterRole.LOAD:
                continue
            reports.setdefault(device, []).append(report_of(received))
        return reports

    # Measuring.

    def _measure(
        self, reports: dict[str, list[Report]], start: datetime, end: datetime, *, wall: bool
    ) -> list[Outgoing]:
        for device in sorted(reports):
            if device not in self._accounts:
                self._accounts[device] = Account(self._periods.get(device, PERIOD_S))
        bookings: dict[str, Booking] = {}
        missing: list[str] = []
        for device, account in sorted(self._accounts.items()):
            told = reports.get(device, [])
            bookings[device] = account.book_wall(told, start, end) if wall else account.book(told, start, end)
            if account.missing(end) if wall else not told:
                missing.append(device)
        stray_kwh = sum(booking.stray_kwh for booking in bookings.values()) if wall else 0.0
        spans = {
            device: booking.spans if wall else _with_stray(booking, start, end) for device, booking in bookings.items()
        }
        now = {
            device: 0.0 if device in missing else account.power_kw for device, account in sorted(self._accounts.items())
        }
        parts = list(self._parts(spans, start, end))
        injections = [*(part.injection for part in parts), self._injection(now)]
        solutions = self._solve(injections)

        before_kwh, losses_before_kwh = self._import_kwh - self._export_kwh, self._losses_kwh
        self._register(stray_kwh)
        for part, solution in zip(parts, solutions[:-1], strict=True):
            hours = (part.end - part.start) / HOUR
            self._register(solution.pcc_kw * hours)
            self._losses_kwh = max(0.0, self._losses_kwh + solution.losses_kw * hours)
        self._at = end
        pcc_kwh = self._import_kwh - self._export_kwh - before_kwh
        devices_kwh = sum(booking.net_kwh for booking in bookings.values())
        telemetry = self._telemetry(
            solutions[-1],
            residual_kwh=pcc_kwh - devices_kwh - (self._losses_kwh - losses_before_kwh),
            segments=None if wall else _segments(parts, solutions),
            missing=tuple(missing),
        )
        unknown = [device for device in self._accounts if device not in self._description.devices]
        alarms = [
            *self._watch.devices(sorted(unknown), self._description.network.main_node),
            *self._watch.network(solutions, self._flow.nodes, self._flow.branches),
        ]
        return [
            Outgoing(own_topic(self, Channel.TELEMETRY), telemetry),
            *(Outgoing(own_topic(self, Channel.ALARM), alarm) for alarm in alarms),
        ]

    def _register(self, energy_kwh: float) -> None:
        self._import_kwh += max(energy_kwh, 0.0)
        self._export_kwh += max(-energy_kwh, 0.0)

    def _telemetry(
        self, now: Solution, residual_kwh: float, segments: tuple[Segment, ...] | None, missing: tuple[str, ...]
    ) -> FeederTelemetry:
        loadings: dict[str, float] = {}
        for name, loading in zip(self._flow.branches, now.loadings_frac, strict=False):
            # Cables in parallel between the same nodes share a name; the most loaded one counts.
            loadings[name] = max(loading, loadings.get(name, 0.0))
        return FeederTelemetry(
            power_kw=now.pcc_kw,
            energy_import_kwh=self._import_kwh,
            energy_export_kwh=self._export_kwh,
            segments=segments,
            losses_kw=now.losses_kw,
            losses_kwh=self._losses_kwh,
            residual_kwh=residual_kwh,
            voltages_pu=dict(zip(self._flow.nodes, now.voltages_pu, strict=False)),
            loadings_frac=loadings,
            missing=missing,
        )

    # The network.

    def _parts(self, spans: Mapping[str, Sequence[Span]], start: datetime, end: datetime) -> Iterable[_Part]:
        """The interval, cut wherever the power of a device changes."""
        if end <= start:
            return
        changes: dict[datetime, dict[str, float]] = {start: {}, end: {}}
        for device, told in spans.items():
            for span in told:
                changes.setdefault(span.start, {})[device] = span.power_kw
                # Between its spans nothing flows; a span that follows at once has the last word.
                changes.setdefault(span.end, {}).setdefault(device, 0.0)
        power_kw = dict.fromkeys(spans, 0.0)
        for begin, until in pairwise(sorted(changes)):
            power_kw.update(changes[begin])
            yield _Part(begin, until, self._injection(power_kw))

    def _injection(self, power_kw: Mapping[str, float]) -> Injection:
        active = [0.0] * len(self._node)
        reactive = [0.0] * len(self._node)
        for device, power in power_kw.items():
            spec = self._description.devices.get(device)
            network = self._description.network
            node = self._node[network.main_node if spec is None or spec.node is None else spec.node]
            active[node] += power
            if isinstance(spec, Meter):
                reactive[node] += reactive_kvar(power, spec.power_factor)
        return Injection(tuple(active), tuple(reactive))

    def _solve(self, injections: Sequence[Injection]) -> list[Solution]:
        """Equal injections are solved once. Where no voltages carry the load the losses are unknown and left out."""
        distinct = list(dict.fromkeys(injections))
        flows = dict(zip(distinct, self._flow.solve(distinct), strict=True))
        return [flows[injection] or _without_network(injection) for injection in injections]


def _with_stray(booking: Booking, start: datetime, end: datetime) -> tuple[Span, ...]:
    """Energy that the device told of too late flows evenly over the interval in which it is heard again."""
    stray_kwh = booking.stray_kwh
    if not stray_kwh or end <= start:
        return booking.spans
    extra_kw = stray_kwh / ((end - start) / HOUR)
    whole: list[Span] = []
    at = start
    for span in booking.spans:
        if span.start > at:
            whole.append(Span(at, span.start, extra_kw))
        whole.append(Span(span.start, span.end, span.power_kw + extra_kw))
        at = span.end
    if at < end:
        whole.append(Span(at, end, extra_kw))
    return tuple(whole)


def _segments(parts: Sequence[_Part], solutions: Sequence[Solution]) -> tuple[Segment, ...]:
    segments: list[Segment] = []
    for part, solution in zip(parts, solutions, strict=False):
        if not segments or segments[-1].power_kw != solution.pcc_kw:
            segments.append(Segment(part.start, solution.pcc_kw))
    return tuple(segments)


def _without_network(injection: Injection) -> Solution:
    total_kw = sum(injection.active_kw)
    return Solution(min(max(total_kw, -_GREATEST_KW), _GREATEST_KW), 0.0, (), ())


def power_flow_of(site: Site) -> PowerFlow:
    """The site's network, ready to be solved. Raises ValueError when it makes no sense electrically."""
    network = site.network
    given = network.transformer
    transformer = Transformer(
        name=TRANSFORMER,
        from_node=given.from_node,
        to_node=given.to_node,
        rated_kva=given.rated_kva,
        high_kv=given.high_kv,
        low_kv=given.low_kv,
        vk_frac=given.vk_frac,
        vkr_frac=given.vkr_frac,
        iron_loss_kw=given.iron_loss_kw,
        no_load_current_frac=given.no_load_current_frac,
        clock=given.clock,
    )
    cables = [
        Cable(cable.name, cable.from_node, cable.to_node, cable.r_mohm / 1e3, cable.x_mohm / 1e3, cable.ampacity_a)
        for cable in network.cables
    ]
    return PowerFlow(transformer, cables, network.source_voltage_pu)
