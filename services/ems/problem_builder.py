"""The problem builder: from system state to problem.

Measurement holds for the current step, series for the future; nameplates come from births.
"""

import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np

from schemas.limits import Limits
from schemas.messages import (
    BessNameplate,
    BessTelemetry,
    ChargerNameplate,
    ChargerTelemetry,
    Fallback,
    HeatPumpNameplate,
    HeatPumpTelemetry,
    MeterRole,
    NetworkTelemetry,
    PvNameplate,
    PvTelemetry,
    Quantity,
    ShortfallKind,
    ValueSeries,
)
from schemas.participant import Turn
from schemas.site import Horizon, Site, next_midnight, step_start
from schemas.sums import sum_in_order
from services.ems.ageing import ageing_price
from services.ems.charging_sessions import PlannedTime, Policy, sessions_of
from services.ems.lag import with_lag
from services.ems.month_peak import MonthPeak
from services.ems.network_limits import UNKNOWN_METER, Bottleneck, NetworkLimits
from services.ems.phases import Usable, gap_of, range_now_kw, within_network
from services.ems.problem import (
    LATER_STEP_H,
    PATIENCE,
    BessUnit,
    ChargerUnit,
    FixedUnit,
    Group,
    HeatUnit,
    Later,
    OutsideLimit,
    Prices,
    Problem,
    PvUnit,
    Stay,
    TaperCurve,
    Values,
    Weights,
    Wish,
    flat_reference,
)
from services.ems.series_alignment import extended, latest, on_steps
from services.ems.stores import Array
from services.ems.system_state import Counted, DeviceState, SystemState, meter_role

PURCHASE, SALE = Quantity.PURCHASE_PRICE, Quantity.SALE_PRICE

LATER_BLOCK = 6
"""Steps after the window come in blocks of so many ..."""
LATER_MOST = 48
"""... and are so many at most; a stay that outlasts them is thought to charge at full power from then on."""


@dataclass(frozen=True, slots=True)
class Unplannable:
    """Why there is no problem to solve."""

    reason: str


@dataclass(frozen=True, slots=True)
class Window:
    start: datetime
    step_s: int
    steps: int

    @property
    def end(self) -> datetime:
        return self.start + timedelta(seconds=self.step_s * self.steps)

    def at(self, step: int) -> datetime:
        return self.start + timedelta(seconds=self.step_s * step)


def window_start(time: datetime, step_s: int, zone: ZoneInfo) -> datetime:
    """Start of the step that contains ``time``, counted from local midnight as prices and forecasts are."""
    return step_start(time, timedelta(seconds=step_s), zone)


def problem_of(
    state: SystemState,
    site: Site,
    limits: NetworkLimits,
    turn: Turn,
    month_peak: MonthPeak,
    flat_reference_kw: float | None,
    began: Mapping[str, float],
) -> Problem | Unplannable:
    """The problem at ``turn.t``. ``flat_reference_kw``: of this local day, if it was seen before.

    ``began``: the SOC with which each BESS was found on this local day.

    In wall time a plan may begin within a step; that step then counts as whole, which over-states its energy by what
    has passed of it, and the next plan corrects it.
    """
    present = state.present(turn)
    window = Window(window_start(turn.t, turn.step_s, site.zone), turn.step_s, _steps(site, turn))
    prices = _prices(state, site, window)
    if isinstance(prices, Unplannable):
        return prices
    purchase, sale = prices
    window = Window(window.start, window.step_s, len(purchase))
    losses = _losses(present)
    loads = _loads(state, present, site, window, losses)
    load = _sum(loads.values(), window)
    inverters = [_pv(name, known, state, site, window) for name, known in present.items()]
    pv = tuple(unit for unit in inverters if unit is not None)
    batteries = [_bess(name, known, state, site, window, began) for name, known in present.items()]
    options = site.ems
    phases, network = within_network(present, _network(limits, present, loads, losses, window), turn.t)
    chargers = [_charger(name, known, state, site, window, phases.get(name, ())) for name, known in present.items()]
    outside = _outside_limits(state.limits, site, present, window, turn.t)
    groups = [*_groups(site, present), *network]
    units = tuple(unit for unit in chargers if isinstance(unit, ChargerUnit))
    dearest = max((stay.shortfall_weight for unit in units for stay in unit.stays), default=1.0)
    missing_price = dearest * options.shortfall_price_eur_per_kwh
    outside_price = outside_price_eur_per_kwh(missing_price, window.steps) if outside else 0.0
    least_limit_price = 2 * (outside_price or (missing_price if dearest > 1 else 0.0))
    later = _later(state, present, site, limits, window, units, losses)
    charge, billing = site.tariff.demand_charge_eur_per_kw or 0.0, site.tariff.demand_billing
    month = month_peak.month_of(turn.t)
    ratchet_free = billing.ratchet_free_kw(month, month_peak.past_kw) if charge else ()
    pumps = [_heat(name, known, state, site, window) for name, known in present.items()]
    return Problem(
        start=window.start,
        step_s=window.step_s,
        steps=window.steps,
        load_kw=load,
        losses_kw=(losses,) * window.steps,
        purchase_eur_per_kwh=purchase,
        sale_eur_per_kwh=sale,
        import_limit_kw=site.connection.import_limit_kw,
        export_limit_kw=site.connection.export_limit_kw,
        flat_reference_kw=flat_reference(load, pv) if flat_reference_kw is None else flat_reference_kw,
        bess=tuple(unit for unit in batteries if unit is not None),
        chargers=units,
        fixed=tuple(unit for unit in (*chargers, *pumps) if isinstance(unit, FixedUnit)),
        pv=pv,
        heat=tuple(unit for unit in pumps if isinstance(unit, HeatUnit)),
        groups=tuple(groups),
        outside_limits=outside,
        month_peak_kw=month_peak.at(turn.t),
        free_peak_kw=billing.free_kw(month, month_peak.past_kw),
        ratchet_free_kw=ratchet_free,
        later=later,
        weights=_weights(site),
        co2_g_per_kwh=_co2(state, site, window),
        prices=Prices(
            shortfall_eur_per_kwh=options.shortfall_price_eur_per_kwh,
            limit_eur_per_kwh=max(options.limit_price_eur_per_kwh, least_limit_price),
            outside_limit_eur_per_kwh=outside_price,
            bess_wear_eur_per_kwh=options.bess_wear_eur_per_kwh,
            vehicle_wear_eur_per_kwh=options.vehicle_wear_eur_per_kwh,
            tie_throughput_eur_per_kwh=options.tie_throughput_eur_per_kwh,
            tie_flat_eur_per_kwh=options.tie_flat_eur_per_kwh,
            ramping_eur_per_kw=options.ramping_price_eur_per_kw,
            reversal_eur=options.reversal_price_eur,
            demand_eur_per_kw=charge,
            ratchet_eur_per_kw=charge * billing.ratchet_frac if ratchet_free else 0.0,
        ),
    )


def _later(
    state: SystemState,
    present: dict[str, DeviceState],
    site: Site,
    limits: NetworkLimits,
    window: Window,
    chargers: Iterable[ChargerUnit],
    losses: float,
) -> Later | None:
    """Steps up to the last departure of those who stay on, in blocks, so that the model's structure lasts for hours.

    Series that say nothing of them are taken as the window's mean.
    """
    last = max((stay.departure for unit in chargers for stay in unit.stays), default=window.end)
    hours = (last - window.end).total_seconds() / 3600 / LATER_STEP_H
    if hours <= 0:
        return None
    steps = min(math.ceil(hours / LATER_BLOCK) * LATER_BLOCK, LATER_MOST)
    after = Window(window.end, round(LATER_STEP_H * 3600), steps)
    loads = _loads(state, present, site, after, losses, measured_now=False)
    pv = [_pv(name, known, state, site, after, measured_now=False) for name, known in present.items()]
    net = np.array(_sum(loads.values(), after)) + losses
    for unit in pv:
        if unit is not None:
            net = net - np.array(unit.available_kw)
    weights = _weights(site)
    co2 = _co2(state, site, after) or (0.0,) * after.steps
    purchase = tuple(map(weights.of_import, _later_price(state, PURCHASE, site, after), co2))
    sale = tuple(map(weights.of_export, _later_price(state, SALE, site, after)))
    network = [group for _, group in _network(limits, present, loads, losses, after)]
    groups = (*_groups(site, present), *network)
    return Later(_tuple(net), purchase, sale, groups)


def _later_price(state: SystemState, quantity: Quantity, site: Site, after: Window) -> Values:
    """As `_prices`, without an end to what may be assumed: these are expectations, and nothing is bought at them."""
    series = latest([s for s in state.values(quantity) if s.start <= after.start])
    assert series is not None, "the window has prices"
    values = extended(series, after.start, after.step_s, after.steps, site.zone)
    return _tuple(np.where(np.isnan(values), float(np.mean(series.values)), values))


def _weights(site: Site) -> Weights:
    wanted = site.ems.objective
    return Weights(
        wanted.cost, wanted.co2_eur_per_t / 1000, wanted.self_consumption_eur_per_kwh, wanted.peak_eur_per_kw
    )


def _co2(state: SystemState, site: Site, window: Window) -> Values:
    """Intensity of imported energy [g/kWh] as far as it is known, and its mean beyond; empty: it is not known."""
    series = latest([s for s in state.values(Quantity.CO2_INTENSITY) if s.start <= window.start])
    if series is None:
        return ()
    values = extended(series, window.start, window.step_s, window.steps, site.zone)
    return _tuple(np.where(np.isnan(values), float(np.mean(series.values)), values))


def _steps(site: Site, turn: Turn) -> int:
    start = window_start(turn.t, turn.step_s, site.zone)
    if site.ems.horizon is Horizon.DAY:
        length_s = (next_midnight(start, site.zone) - start).total_seconds()
    else:
        length_s = site.ems.rolling_h * 3600
    return max(1, math.ceil(length_s / turn.step_s))


def _prices(state: SystemState, site: Site, window: Window) -> tuple[Values, Values] | Unplannable:
    """Purchase and sale price, as far as they are known or may be assumed (`EmsOptions.price_extension_h`)."""
    found = []
    for quantity in (PURCHASE, SALE):
        series = latest([s for s in state.values(quantity) if s.start <= window.start])
        if series is None:
            return Unplannable(f"no {quantity.value} is known at {window.start.isoformat()}")
        values = extended(series, window.start, window.step_s, window.steps, site.zone)
        last = series.end + timedelta(hours=site.ems.price_extension_h)
        until = (last - window.start) // timedelta(seconds=window.step_s)  # steps that end by then
        unknown = np.isnan(values).nonzero()[0]
        known = int(unknown[0]) if len(unknown) else window.steps
        found.append((values, max(0, min(known, until))))
    steps = min(count for _, count in found)
    if steps == 0:
        return Unplannable(f"prices end before {window.at(1).isoformat()} and may not be extended further")
    purchase, sale = (tuple(values[:steps].tolist()) for values, _ in found)
    return purchase, sale


def _losses(present: dict[str, DeviceState]) -> float:
    """Losses of the site's network [kW]: what the PCC meter measured last persists over the window."""
    return sum_in_order(
        known.telemetry.losses_kw for known in present.values() if isinstance(known.telemetry, NetworkTelemetry)
    )


def _groups(site: Site, present: dict[str, DeviceState]) -> list[Group]:
    """Limits that the site names."""
    groups = []
    for i, group in enumerate(site.ems.cable_limits):
        if devices := tuple(device for device in group.devices if device in present):
            place = f"ems.cable_limits.{i}"
            groups.append(Group(devices, group.limit_kw, element=place, kind=ShortfallKind.GROUP_LIMIT))
    return groups


def _outside_limits(
    limits: Limits, site: Site, present: Collection[str], window: Window, now: datetime
) -> tuple[OutsideLimit, ...]:
    """By scope the strictest of the limits from outside, in every step in a part of which they are valid."""
    if not limits:
        return ()
    scopes: dict[str | None, tuple[str, ...]] = {None: ()}
    for name, devices in named_groups(site).items():
        scopes[name] = devices
    found = []
    for group, devices in scopes.items():
        steps = [limits.over(group, window.at(i), window.at(i + 1), now) for i in range(window.steps)]
        imports, exports = [step.import_ for step in steps], [step.export for step in steps]
        allowed = [each for each in (*imports, *exports) if each is not None]
        there = tuple(device for device in devices if device in present)
        if not allowed or (group is not None and not there):
            continue
        found.append(
            OutsideLimit(
                source=", ".join(dict.fromkeys(each.source for each in allowed))[:500],
                import_kw=tuple(math.inf if each is None else each.kw for each in imports),
                export_kw=tuple(math.inf if each is None else each.kw for each in exports),
                group=group or "",
                devices=there,
                failsafe=any(each.failsafe for each in allowed),
            )
        )
    return tuple(found)


def named_groups(site: Site) -> dict[str, tuple[str, ...]]:
    """Devices of the groups that a limit from outside may name."""
    return {group.name: group.devices for group in site.ems.cable_limits if group.name is not None}


def outside_price_eur_per_kwh(shortfall_price: float, steps: int) -> float:
    """Price above a limit from outside: more than any energy that is missing could cost in the window.

    A store below its minimum is short in every step, so that a kWh may be worth ``steps`` times the price of a
    shortfall; what it loses on the way from and to the bus, less than half, doubles it. The limits of connection and
    network cost twice that again: they protect cables and fuses.
    """
    return 2 * shortfall_price * steps


def _network(
    limits: NetworkLimits, present: dict[str, DeviceState], loads: dict[str, Array], losses: float, window: Window
) -> list[tuple[Bottleneck, Group]]:
    """Limits of the site's cables and transformer, where they could bind."""
    return [(each, _group(each, loads, losses, window)) for each in limits.bottlenecks(present, loads.keys())]


def _group(bottleneck: Bottleneck, loads: dict[str, Array], losses: float, window: Window) -> Group:
    """Load counts with its sign; losses and reactive power take room from power drawn, reactive power from power given
    too."""
    of_meters = zip(bottleneck.meters, bottleneck.load_shares, bottleneck.reactive, strict=True)
    certain = np.zeros(window.steps)
    most, kvar = certain, certain
    for name, share, own in of_meters:
        if name not in loads:
            continue
        load = share * loads[name]
        kvar = kvar + own * load
        perhaps = bottleneck.perhaps and name == UNKNOWN_METER
        most = most + (np.maximum(load, 0.0) if perhaps else load)
        certain = certain + (np.minimum(load, 0.0) if perhaps else load)
    reserved = bottleneck.reserved_kw(kvar)
    lost = bottleneck.losses_share * losses if bottleneck.losses else 0.0
    return Group(
        bottleneck.devices,
        bottleneck.limit_kw,
        _tuple(most + lost + reserved),
        bottleneck.shares,
        _tuple(certain - reserved),
        element=bottleneck.element,
    )


def _loads(
    state: SystemState,
    present: dict[str, DeviceState],
    site: Site,
    window: Window,
    losses: float,
    *,
    measured_now: bool = True,
) -> dict[str, Array]:
    """Load [kW] by meter: each meter's measurement now, its forecast later; without a forecast it persists.

    Without a load meter the measurement is PCC minus devices minus losses, and nobody's by name.
    """
    forecasts: dict[str, list[ValueSeries]] = {}
    for series in state.values(Quantity.LOAD):
        if series.start <= window.start:
            forecasts.setdefault(series.device or UNKNOWN_METER, []).append(series)
    meters = {
        name: known.telemetry.power_kw
        for name, known in present.items()
        if meter_role(known) == MeterRole.LOAD.value and known.telemetry is not None
    }
    loads = {
        name: _expected(latest(forecasts.get(name, ())), meters.get(name), site, window, measured_now=measured_now)
        for name in sorted(forecasts.keys() | meters.keys())
    }
    if meters or (rest := _load_by_difference(present, losses)) is None:
        return loads
    total = np.array(_sum(loads.values(), window)) if forecasts else np.full(window.steps, rest)
    if measured_now:
        total[0] = rest
    return {UNKNOWN_METER: total}


def _sum(loads: Iterable[Array], window: Window) -> Values:
    total = np.zeros(window.steps)
    for values in loads:
        total = total + values
    return _tuple(total)


def _load_by_difference(present: dict[str, DeviceState], losses: float) -> float | None:
    pcc = [k.telemetry for k in present.values() if meter_role(k) == MeterRole.PCC.value and k.telemetry is not None]
    if not pcc:
        return None
    devices = sum_in_order(
        known.telemetry.power_kw
        for known in present.values()
        if known.telemetry is not None and known.birth.capabilities and meter_role(known) is None
    )
    return pcc[0].power_kw - devices - losses


def _expected(
    series: ValueSeries | None, measured: float | None, site: Site, window: Window, *, measured_now: bool = True
) -> Array:
    """A forecast with its first step measured, if the window begins now; without forecast the measurement persists,
    without either it is 0."""
    if series is None:
        return np.full(window.steps, 0.0 if measured is None else measured)
    values = extended(series, window.start, window.step_s, window.steps, site.zone)
    values[np.isnan(values)] = 0.0 if measured is None else measured
    if measured is not None and measured_now:
        values[0] = measured
    return values


def _pv(
    name: str, known: DeviceState, state: SystemState, site: Site, window: Window, *, measured_now: bool = True
) -> PvUnit | None:
    plate = known.birth.nameplate
    if not (isinstance(plate, PvNameplate) and isinstance(known.telemetry, PvTelemetry)):
        return None
    told = state.values(Quantity.PV)
    series = latest([s for s in told if s.device == name and s.start <= window.start])
    available = np.maximum(
        _expected(series, known.telemetry.available_kw, site, window, measured_now=measured_now), 0.0
    )
    return PvUnit(name, plate.rated_kw, plate.curtailable, _tuple(np.minimum(available, plate.rated_kw)))


def _bess(
    name: str, known: DeviceState, state: SystemState, site: Site, window: Window, began: Mapping[str, float]
) -> BessUnit | None:
    plate = known.birth.nameplate
    if not (isinstance(plate, BessNameplate) and isinstance(known.telemetry, BessTelemetry)):
        return None
    capacity = plate.capacity_kwh
    wishes = []
    wanted = site.ems.bess_terminal_soc_frac
    value = 0.0
    if wanted == "start":
        wanted, value = began[name], _left_eur_per_kwh(plate, state, site, window)
    midnight = next_midnight(window.start, site.zone)
    while wanted is not None and midnight <= window.end:
        step = math.ceil((midnight - window.start).total_seconds() / window.step_s) - 1
        wishes.append(Wish(step, wanted * capacity))
        midnight = next_midnight(midnight, site.zone)
    return BessUnit(
        device=name,
        capacity_kwh=capacity,
        max_charge_kw=plate.max_charge_kw,
        max_discharge_kw=plate.max_discharge_kw,
        charge_efficiency=plate.charge_efficiency,
        discharge_efficiency=plate.discharge_efficiency,
        energy_min_kwh=min(plate.soc_min_frac, plate.soc_max_frac) * capacity,
        energy_max_kwh=plate.soc_max_frac * capacity,
        energy_kwh=known.telemetry.soc_frac * capacity,
        wishes=tuple(wishes),
        left_eur_per_kwh=value,
        flowing_kw=known.telemetry.power_kw,
        ageing=ageing_price(site.calendar_wear(name)),
    )


def _left_eur_per_kwh(plate: BessNameplate, state: SystemState, site: Site, window: Window) -> float:
    """Value of a kWh that is left in store at the window's end.

    It replaces a purchase at the lowest price that is expected in the day after, which any use of it beats; less wear
    and twice the tie-break, so that what can be used now at the same price is.
    """
    after = Window(window.end, 3600, 24)
    options = site.ems
    weights = _weights(site)
    co2 = _co2(state, site, after) or (0.0,) * after.steps
    price = min(map(weights.of_import, _later_price(state, PURCHASE, site, after), co2))
    price -= weights.cost * options.bess_wear_eur_per_kwh + PATIENCE * options.tie_throughput_eur_per_kwh
    return max(price, 0.0) * plate.discharge_efficiency


def _heat(name: str, known: DeviceState, state: SystemState, site: Site, window: Window) -> HeatUnit | FixedUnit | None:
    """A heat pump. What it does not measure and nobody expects is 0: 0 °C, no heat wanted.

    One that is not controllable is expected to replace, step by step, what its building takes and its buffer loses at
    the middle of its band: its thermostat does so in the mean.
    """
    plate, told = known.birth.nameplate, known.telemetry
    if not (isinstance(plate, HeatPumpNameplate) and isinstance(told, HeatPumpTelemetry)):
        return None

    def expected(quantity: Quantity, measured: float | None) -> Array:
        found = [s for s in state.values(quantity) if s.device == name and s.start <= window.start]
        return _expected(latest(found), measured, site, window)

    cop = [plate.cop(temp) for temp in expected(Quantity.TEMP_OUTDOOR, told.temp_outdoor_c).tolist()]
    if told.cop:
        cop[0] = told.cop
    demand = np.maximum(expected(Quantity.HEAT_DEMAND, told.heat_demand_kw), 0.0)
    capacity = plate.buffer_kwh
    low, high = min(plate.soc_min_frac, plate.soc_max_frac) * capacity, plate.soc_max_frac * capacity
    if not plate.controllable:
        power = (demand + plate.loss_frac_per_h * (low + high) / 2) / np.array(cop)
        power[0] = told.power_kw
        return FixedUnit(name, _tuple(np.minimum(power, plate.max_power_kw)))
    return HeatUnit(
        device=name,
        max_power_kw=plate.max_power_kw,
        min_power_kw=min(plate.min_power_kw, plate.max_power_kw),
        loss_frac_per_h=plate.loss_frac_per_h,
        capacity_kwh=capacity,
        energy_min_kwh=low,
        energy_max_kwh=high,
        energy_kwh=told.soc_frac * capacity,
        cop=tuple(cop),
        demand_kw=_tuple(demand),
    )


def _charger(
    name: str, known: DeviceState, state: SystemState, site: Site, window: Window, phases: Usable
) -> ChargerUnit | FixedUnit | None:
    plate, telemetry = known.birth.nameplate, known.telemetry
    if not (isinstance(plate, ChargerNameplate) and isinstance(telemetry, ChargerTelemetry)):
        return None
    departed = known.departed
    expected = [s for s in state.sessions(name) if departed is None or not departed.ends(s)]
    policy = Policy(site.assumed_vehicle(name), site.zone, state.departures)
    planned = PlannedTime(window.start, window.at(1), window.end)
    sessions = sessions_of(plate, telemetry.vehicle, known.counted, expected, planned, policy)
    if sessions.unplannable is not None:
        fallback = known.birth.fallback if plate.controllable else Fallback.UNCONTROLLED
        power = np.array(unknown_power(plate, telemetry, known.counted, fallback, sessions.leaves, window))
        if fallback is Fallback.UNCONTROLLED:
            power = power + np.array(uncontrolled_power(plate, sessions.stays, window))
        reason = f"a vehicle is plugged, and {sessions.unplannable}: the charger's fallback is {fallback}"
        return FixedUnit(name, _tuple(power), sessions.assumptions, reason)
    if not plate.controllable:
        return FixedUnit(name, uncontrolled_power(plate, sessions.stays, window), sessions.assumptions)
    least_now_kw, most_now_kw = range_now_kw(plate, phases)
    return ChargerUnit(
        device=name,
        max_charge_kw=plate.max_charge_kw,
        max_discharge_kw=plate.max_discharge_kw,
        min_power_kw=least_now_kw,
        charge_efficiency=plate.charge_efficiency,
        discharge_efficiency=plate.discharge_efficiency,
        stays=with_lag(sessions.stays, plate, telemetry, window.start) if site.ems.plan_device_lag else sessions.stays,
        assumptions=sessions.assumptions,
        taper=_taper(plate),
        flowing_kw=telemetry.power_kw,
        ageing=ageing_price(site.calendar_wear(name)),
        now_max_kw=most_now_kw if phases else math.inf,
        phase_gap=gap_of(plate),
        phases=phases,
    )


def _taper(plate: ChargerNameplate) -> TaperCurve | None:
    if plate.taper_start_soc_frac is None or plate.taper_start_soc_frac >= 1 or plate.taper_end_power_frac >= 1:
        return None
    return TaperCurve(plate.taper_start_soc_frac, plate.taper_end_power_frac)


def unknown_power(
    plate: ChargerNameplate,
    telemetry: ChargerTelemetry,
    counted: Counted | None,
    fallback: Fallback,
    leaves: datetime | None,
    window: Window,
) -> Values:
    """Mean power [kW] per step of a vehicle that cannot be planned, at a charger that follows its fallback.

    Idle: none. Hold: the power that flows. Uncontrolled: the power that it draws; where it draws none, its most if it
    has drawn nothing yet, else none, for then it is full. So until it leaves, or throughout where that is not known.
    """
    flowing, vehicle = telemetry.power_kw, telemetry.vehicle
    if fallback is Fallback.UNCONTROLLED and flowing <= 0:
        begun = counted is not None and (counted.charged_kwh or 0.0) > 0
        rating = None if vehicle is None else vehicle.max_charge_kw
        most = plate.uncontrolled_kw if rating is None else min(plate.uncontrolled_kw, rating)
        flowing = 0.0 if begun else most
    elif fallback is Fallback.IDLE:
        flowing = 0.0
    until = window.end if leaves is None else leaves
    edges = window.step_s * np.arange(window.steps + 1)
    inside = np.clip(edges, 0.0, max((until - window.start).total_seconds(), 0.0))
    return _tuple(flowing * np.diff(inside) / window.step_s)


def uncontrolled_power(plate: ChargerNameplate, stays: tuple[Stay, ...], window: Window) -> Values:
    """Mean power [kW] per step of a charger that is left to itself from arrival until the target or departure."""
    power = np.zeros(window.steps)
    for stay in stays:
        rate = min(plate.uncontrolled_kw, stay.max_charge_kw)
        missing = min(stay.target_kwh, stay.energy_max_kwh) - stay.energy_kwh
        if missing <= 0 or rate <= 0:
            continue
        seconds = missing / (rate * plate.charge_efficiency) * 3600
        stop = min((stay.departure - stay.arrival).total_seconds(), seconds)
        begin = (stay.arrival - window.start).total_seconds()
        edges = window.step_s * np.arange(window.steps + 1)
        inside = np.clip(edges, begin, begin + stop)
        power = power + rate * np.diff(inside) / window.step_s
    return _tuple(power)


def _tuple(values: Array) -> Values:
    return tuple(values.tolist())


__all__ = ["Unplannable", "Window", "on_steps", "problem_of", "uncontrolled_power", "window_start"]
