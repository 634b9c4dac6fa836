"""Small random problems for property tests: prices of either sign, sale above purchase, limits that bind, odd times."""

import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import strategies as st

from services.ems.problem import (
    AgeingPrice,
    BessUnit,
    ChargerUnit,
    DischargeDay,
    FixedUnit,
    Group,
    HeatUnit,
    Later,
    OutsideLimit,
    PhaseGap,
    Prices,
    Problem,
    PvUnit,
    Stay,
    TaperCurve,
    Weights,
    Wish,
    flat_reference,
)

START = datetime(2024, 5, 17, 10, tzinfo=UTC)
STEP_S = 900


def numbers(low: float, high: float) -> st.SearchStrategy[float]:
    """Two decimals: differences below the solver's tolerance are not what is tested."""
    return st.integers(round(low * 100), round(high * 100)).map(lambda n: n / 100)


@st.composite
def problems(draw: st.DrawFn) -> Problem:
    steps = draw(st.integers(2, 6))

    def series(low: float, high: float) -> tuple[float, ...]:
        return tuple(draw(st.lists(numbers(low, high), min_size=steps, max_size=steps)))

    sale = series(-0.3, 0.4)
    ordinary = draw(st.booleans())
    purchase = tuple(s + draw(numbers(0, 0.2)) for s in sale) if ordinary else series(-0.3, 0.4)
    pv = tuple(PvUnit(f"pv{i}", 40.0, draw(st.booleans()), series(0, 40)) for i in range(draw(st.integers(0, 2))))
    bess = tuple(draw(_bess(f"bess{i}", steps)) for i in range(draw(st.integers(0, 1))))
    chargers = tuple(draw(_charger(f"ev{i}", steps)) for i in range(draw(st.integers(0, 2))))
    fixed = (FixedUnit("ev-fixed", series(0, 11)),) if draw(st.booleans()) else ()
    heat = (draw(heat_pump("heatpump", steps)),) if draw(st.integers(0, 2)) == 0 else ()
    names = [unit.device for unit in (*pv, *bess, *chargers, *fixed, *heat)]
    groups = ()
    if names and draw(st.booleans()):
        members = draw(st.lists(st.sampled_from(names), min_size=1, unique=True))
        behind = series(0, 20) if draw(st.booleans()) else ()
        shares = tuple(draw(st.sampled_from([1 / 3, 1.0])) for _ in members) if draw(st.booleans()) else ()
        least = tuple(draw(numbers(0, 1)) * kw for kw in behind) if draw(st.booleans()) else ()
        groups = (Group(tuple(members), draw(numbers(1, 60)), behind, shares, least),)
    outside = tuple(
        draw(_outside_limit(group, steps, names))
        for group in ("", "group")
        if (names or not group) and draw(st.integers(0, 3)) == 0
    )
    load = series(0, 50)
    later = draw(_later(groups)) if chargers and draw(st.booleans()) else None
    ratchet = draw(st.sampled_from([(), (), (12.0,), (5.0, 25.0, 60.0)]))
    return Problem(
        start=START,
        step_s=STEP_S,
        steps=steps,
        load_kw=load,
        losses_kw=(draw(numbers(0, 1)),) * steps,
        purchase_eur_per_kwh=purchase,
        sale_eur_per_kwh=sale,
        import_limit_kw=draw(st.sampled_from([10.0, 30.0, 500.0])),
        export_limit_kw=draw(st.sampled_from([0.0, 5.0, 20.0, 500.0])),
        flat_reference_kw=flat_reference(load, pv),
        bess=bess,
        chargers=chargers,
        fixed=fixed,
        pv=pv,
        heat=heat,
        groups=groups,
        outside_limits=outside,
        month_peak_kw=draw(numbers(0, 40)),
        free_peak_kw=draw(st.sampled_from([0.0, 0.0, 15.0, 45.0])),
        month_end=draw(st.sampled_from([None, START + timedelta(seconds=STEP_S * draw(st.integers(1, steps + 4)))])),
        next_free_peak_kw=draw(st.sampled_from([0.0, 0.0, 15.0, 45.0])),
        ratchet_free_kw=ratchet,
        later=later,
        weights=Weights(
            cost=draw(st.sampled_from([1.0, 1.0, 0.001, 0.5])),
            co2_eur_per_kg=draw(st.sampled_from([0.0, 0.0, 0.1, 1.0])),
            unused_eur_per_kwh=draw(st.sampled_from([0.0, 0.0, 0.05, 0.5])),
            peak_eur_per_kw=draw(st.sampled_from([0.0, 0.0, 0.3])),
        ),
        co2_g_per_kwh=series(0, 900) if draw(st.booleans()) else (),
        prices=Prices(
            limit_eur_per_kwh=500.0 if outside else 50.0,
            outside_limit_eur_per_kwh=100.0 if outside else 0.0,
            bess_wear_eur_per_kwh=draw(st.sampled_from([0.0, 0.02])),
            vehicle_wear_eur_per_kwh=draw(st.sampled_from([0.0, 0.0, 0.05])),
            tie_throughput_eur_per_kwh=draw(st.sampled_from([0.0, 1e-4])),
            tie_flat_eur_per_kwh=draw(st.sampled_from([0.0, 1e-5])),
            ramping_eur_per_kw=draw(st.sampled_from([0.0, 0.0, 0.002, 0.03])),
            demand_eur_per_kw=draw(st.sampled_from([0.0, 0.5])),
            ratchet_eur_per_kw=draw(st.sampled_from([0.1, 0.4])) if ratchet else 0.0,
        ),
    )


@st.composite
def _later(draw: st.DrawFn, groups: tuple[Group, ...]) -> Later:
    """Hours after the window, in which some limit has no room and some price is negative."""
    hours = draw(st.integers(1, 3))

    def series(low: float, high: float) -> tuple[float, ...]:
        return tuple(draw(st.lists(numbers(low, high), min_size=hours, max_size=hours)))

    behind = tuple(replace(group, load_kw=series(0, 20), least_load_kw=()) for group in groups)
    return Later(series(-20, 40), series(-0.3, 0.4), series(-0.3, 0.4), behind)


@st.composite
def _outside_limit(draw: st.DrawFn, group: str, steps: int, names: list[str]) -> OutsideLimit:
    """Of some steps only, in one direction or in both."""

    def allowed() -> tuple[float, ...]:
        return tuple(draw(numbers(0, 40)) if draw(st.booleans()) else math.inf for _ in range(steps))

    members = draw(st.lists(st.sampled_from(names), min_size=1, unique=True)) if group else []
    return OutsideLimit("somebody", allowed(), allowed(), group, tuple(members))


@st.composite
def _ageing(draw: st.DrawFn) -> AgeingPrice | None:
    """Convex, of one to three pieces, also cheapest in the middle; or none."""
    count = draw(st.sampled_from([0, 0, 1, 2, 3]))
    if count == 0:
        return None
    widths = draw(st.lists(numbers(0.1, 1), min_size=count, max_size=count))
    slopes = sorted(draw(st.lists(numbers(-0.03, 0.05), min_size=count, max_size=count)))
    socs = [sum(widths[:k]) / sum(widths) for k in range(count)] + [1.0]
    prices = [draw(numbers(0.03, 0.05))]
    for k, slope in enumerate(slopes):
        prices.append(prices[-1] + slope * (socs[k + 1] - socs[k]))
    return AgeingPrice(tuple(socs), tuple(prices))


@st.composite
def _bess(draw: st.DrawFn, device: str, steps: int) -> BessUnit:
    wishes = (Wish(draw(st.integers(0, steps - 1)), draw(numbers(0, 12))),) if draw(st.booleans()) else ()
    return BessUnit(
        device=device,
        capacity_kwh=10.0,
        max_charge_kw=draw(numbers(1, 20)),
        max_discharge_kw=draw(numbers(0, 20)),
        charge_efficiency=draw(numbers(0.8, 1)),
        discharge_efficiency=draw(numbers(0.8, 1)),
        energy_min_kwh=1.0,
        energy_max_kwh=9.0,
        energy_kwh=draw(numbers(0, 10)),
        wishes=wishes,
        left_eur_per_kwh=draw(st.sampled_from([0.0, 0.11, 0.3])),
        flowing_kw=draw(st.sampled_from([0.0, 2.5, -3.0])),
        ageing=draw(_ageing()),
    )


@st.composite
def _discharge_days(draw: st.DrawFn) -> tuple[DischargeDay, ...]:
    """Midnights that lie in the window, or none."""
    if draw(st.booleans()):
        return ()
    ends = [START + timedelta(minutes=minutes) for minutes in (draw(st.sampled_from([15, 45])), 1500)]
    return tuple(DischargeDay(end, draw(st.sampled_from([0.0, 0.5, 3.0]))) for end in ends)


@st.composite
def heat_pump(draw: st.DrawFn, device: str, steps: int) -> HeatUnit:
    """With buffers that lose heat, and more heat wanted than there is."""

    def series(low: float, high: float) -> tuple[float, ...]:
        return tuple(draw(st.lists(numbers(low, high), min_size=steps, max_size=steps)))

    low = draw(numbers(0, 6))
    return HeatUnit(
        device=device,
        max_power_kw=draw(numbers(3, 20)),
        min_power_kw=draw(st.sampled_from([0.0, 1.5, 3.0])),
        loss_frac_per_h=draw(st.sampled_from([0.0, 0.01, 0.3])),
        capacity_kwh=20.0,
        energy_min_kwh=low,
        energy_max_kwh=low + draw(numbers(1, 12)),
        energy_kwh=draw(numbers(0, 20)),
        cop=series(1, 5),
        demand_kw=series(0, 60),
    )


@st.composite
def _charger(draw: st.DrawFn, device: str, steps: int) -> ChargerUnit:
    stays = []
    minute = draw(st.sampled_from([-60, 0, 0, 15, 20]))
    while minute < steps * 15 and len(stays) < 3:
        length = draw(st.integers(3, steps * 15 + 40)) + draw(st.sampled_from([0, 0, 60, 200]))
        present = minute <= 0
        stays.append(
            Stay(
                vehicle=f"car{draw(st.sampled_from([0, len(stays)]))}",
                arrival=START + timedelta(minutes=minute),
                departure=START + timedelta(minutes=max(minute, 0) + length),
                capacity_kwh=12.0,
                energy_kwh=draw(numbers(0, 11)) if present else draw(numbers(1, 8)),
                target_kwh=draw(numbers(0, 12)),
                energy_min_kwh=draw(numbers(0, 3)),
                energy_max_kwh=draw(numbers(9, 11)),
                max_charge_kw=draw(numbers(2, 30)),
                max_discharge_kw=draw(numbers(0, 30)),
                lag_s=draw(st.sampled_from([0.0, 0.0, 45.0, 400.0])),
                discharge_kwh=draw(st.sampled_from([math.inf, math.inf, 0.0, 0.3, 2.5])),
                discharge_days=draw(_discharge_days()),
                priority=draw(st.booleans()),
            )
        )
        minute = max(minute, 0) + length + draw(st.sampled_from([0, 4, 15, 30]))
    return ChargerUnit(
        device=device,
        max_charge_kw=22.0,
        max_discharge_kw=draw(st.sampled_from([0.0, 22.0])),
        min_power_kw=draw(st.sampled_from([0.0, 0.0, 1.4, 4.14])),
        charge_efficiency=draw(numbers(0.8, 1)),
        discharge_efficiency=draw(numbers(0.8, 1)),
        stays=tuple(stays),
        taper=draw(st.sampled_from([None, None, TaperCurve(0.6, 0.05), TaperCurve(0.3, 0.0), TaperCurve(0.8, 0.5)])),
        flowing_kw=draw(st.sampled_from([0.0, 4.5, -2.0])),
        ageing=draw(_ageing()),
        now_max_kw=draw(st.sampled_from([math.inf, math.inf, 3.68])),
        phase_gap=draw(st.sampled_from([None, None, PhaseGap(3.68, 4.14), PhaseGap(2.0, 7.0)])),
    )
