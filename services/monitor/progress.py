"""Progress of a run: fed with messages and phases, read by whoever shows it."""

from datetime import datetime

from schemas.capabilities import Capability
from schemas.cycle import Course
from schemas.messages import (
    Alarm,
    MeterRole,
    NetworkTelemetry,
    Phase,
    Plan,
    Quantity,
    Receipt,
    Series,
    Telemetry,
    ValueSeries,
)
from schemas.participant import Received
from schemas.plausibility import meter_bounds, plausible_power_kw
from schemas.register_reading import RegisterReading
from schemas.site import NETWORK, Meter, Site
from schemas.topics import Channel, Kind
from services.history.prices import Prices, prices_of
from services.history.settlement import energy_cost_eur


class View:
    """A run as it was last heard of. Written by one thread; another may read it at any time.

    Attributes: ``time`` simulated, within the run; ``measured`` up to where the PCC meter told; ``pcc_kw`` positive on
    import; ``losses_kw`` of the network; ``cost_eur`` settled so far at the PCC meter from register differences, where
    they are plausible;
    ``soc_frac`` by store, a charger's is its plugged vehicle's (None: no vehicle, or not heard of); ``plan`` the EMS's
    latest; ``recorded`` messages on disk; ``alarms`` raised; ``news`` the newest line about a process. None where
    nothing was heard yet.
    """

    def __init__(self, site: Site, course: Course) -> None:
        self.site, self.course = site, course
        self.time = self.measured = course.t0
        self.pcc_kw: float | None = None
        self.losses_kw: float | None = None
        self.cost_eur: float | None = None
        self.soc_frac: dict[str, float | None] = {
            name: None for name, device in site.devices.items() if Capability.STORAGE in device.nameplate.capabilities
        }
        self.plan: Plan | None = None
        self.recorded: int | None = None
        self.alarms = 0
        self.news: str | None = None
        self._pcc = next(
            (name for name, d in site.devices.items() if isinstance(d, Meter) and d.role is MeterRole.PCC), NETWORK
        )
        self._prices: dict[tuple[str, Quantity, datetime], ValueSeries] = {}
        self._settled: RegisterReading | None = None
        self._bounds = meter_bounds(site)

    @property
    def fraction(self) -> float:
        """How much of the run's time has passed, 0 to 1."""
        return self._fraction(self.time)

    @property
    def measured_fraction(self) -> float:
        """How much of the run's time is in ``cost_eur``, 0 to 1."""
        return self._fraction(self.measured)

    def _fraction(self, time: datetime) -> float:
        return (time - self.course.t0) / (self.course.t_end - self.course.t0)

    @property
    def finished(self) -> bool:
        """Whether the run's time has passed; what follows is the comparison with the reference."""
        return self.time >= self.course.t_end

    def on_phase(self, n: int, phase: Phase, t: datetime) -> None:
        """As `runtime.in_memory.run_direct` tells it."""
        del n, phase
        self._advance(t)

    def on_news(self, text: str) -> None:
        self.news = text

    def on_message(self, received: Received) -> None:
        body = received.body
        if received.topic.channel in (Channel.TICK, Channel.TELEMETRY):
            self._advance(received.stamp.ts)
        if isinstance(body, Telemetry):
            self._on_telemetry(received, body)
        elif isinstance(body, Series) and received.topic.kind is Kind.TARIFF:
            self._prices |= {(received.topic.device, s.quantity, s.start): s for s in body.series}
        elif isinstance(body, Plan):
            self.plan = body
        elif isinstance(body, Receipt) and received.topic.kind is Kind.RECORDER:
            self.recorded = body.stored
        elif isinstance(body, Alarm):
            self.alarms += body.active

    def _advance(self, t: datetime) -> None:
        self.time = self._within(self.time, t)

    def _within(self, before: datetime, t: datetime) -> datetime:
        return min(max(before, t), self.course.t_end)

    def _on_telemetry(self, received: Received, body: Telemetry) -> None:
        device = received.topic.device
        if device in self.soc_frac or body.stored_frac is not None:
            self.soc_frac = {**self.soc_frac, device: body.stored_frac}
        if device == self._pcc:
            stamp = received.stamp
            power_kw = plausible_power_kw((body.power_kw,), self._bounds)
            self.pcc_kw = self.pcc_kw if power_kw is None else power_kw
            self.measured = self._within(self.measured, stamp.ts)
            missing: tuple[str, ...] = ()
            if isinstance(body, NetworkTelemetry):
                self.losses_kw, missing = body.losses_kw, body.missing
            now = (stamp.ts, stamp.boot, body.power_kw, body.energy_import_kwh, body.energy_export_kwh, missing)
            before = self._settled
            if before is None or before.boot != stamp.boot:
                self._settled = RegisterReading.first(*now)
            elif stamp.ts > before.ts:
                self._settled = before.following(*now)
                self._settle(before, self._settled)

    def _settle(self, before: RegisterReading, now: RegisterReading) -> None:
        doubted = before.doubt_until(now, self._bounds) is not None
        energies = before.held_until(now, self._bounds) if doubted else before.grown_until(now)
        if energies is None:
            return
        prices: Prices = prices_of(tuple(self._prices.values()))
        purchase = prices.mean(Quantity.PURCHASE_PRICE, before.ts, now.ts)
        sale = prices.mean(Quantity.SALE_PRICE, before.ts, now.ts)
        cost = energy_cost_eur(*energies, purchase, sale)
        if cost is not None:
            self.cost_eur = (self.cost_eur or 0.0) + cost
