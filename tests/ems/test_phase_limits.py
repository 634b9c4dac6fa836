"""Where single-phase chargers are, each phase of a cable and of the transformer is kept within its limit."""

import json
import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from pytest import approx

from schemas.messages import Plan, ShortfallKind
from schemas.site import AnyDevice, Bess, Cable, Meter, Network, Site, Transformer
from schemas.site.ratings import elements_of
from services.ems.problem import Problem
from services.ems.solution import Solution
from services.ems.solve import Solver
from tests.ems.small_site import T0, turn
from tests.ems.test_network import END, STEPS, Bench, cable, charger, network, on_phase, site
from twin_devices.network.electrical import SiteNetwork

HOURS = (END - T0).total_seconds() / 3600
PHASE_OF_63_A = 0.4 / math.sqrt(3) * 63
"""14.549 kW: what one conductor of 63 A carries at 231 V."""


def problem_of(bench: Bench) -> Problem:
    ems = bench.ems([0.1] * STEPS, [0.3] * STEPS)
    ems.plan_at(turn(T0, n=1), bench.telemetry)
    problem = ems.problem_at(turn(T0, n=1))
    assert isinstance(problem, Problem)
    return problem


def loadings(described: Site, power_kw: dict[str, tuple[float, ...]]) -> dict[str, float]:
    """The worst of each element over the plan, by the network twin's unbalanced power flow."""
    net = SiteNetwork(described)
    flows = net.flows(list(power_kw), np.array(list(power_kw.values())).T)
    return dict(zip(net.flow.branches, flows.loadings_frac.max(axis=0).tolist(), strict=True))


def power_of(plan: Plan, names: list[str]) -> dict[str, tuple[float, ...]]:
    return {name: plan.devices[name].power_kw for name in names}


def test_three_chargers_on_one_phase_share_a_third_of_the_cable() -> None:
    """By hand: 3 · 7.36 kW = 22.08 kW is half of what a cable of 63 A carries (43.65 kW), and 1.52 times its phase."""
    described = site(network(cable("MB", "CP", 63.0)), {f"ev{i}": on_phase("a") for i in range(3)})
    bench = Bench(described)
    for i in range(3):
        bench.charger(f"ev{i}", 0.0, 7.36 * HOURS / 50)  # full power for all of the two hours
    assert loadings(described, {f"ev{i}": (7.36,) for i in range(3)})["MB-CP"] > 1.5
    plan = bench.plan([0.1] * STEPS, [0.3] * STEPS)
    power = power_of(plan, ["ev0", "ev1", "ev2"])
    assert [sum(step) for step in zip(*power.values(), strict=True)] == approx([PHASE_OF_63_A] * STEPS, abs=1e-6)
    assert loadings(described, power)["MB-CP"] <= 1.01  # 1.003: less than 231 V carry it
    assert {shortfall.kind for shortfall in plan.shortfalls} == {ShortfallKind.DEPARTURE}
    assert sum(shortfall.kwh for shortfall in plan.shortfalls) == approx(2 * (22.08 - PHASE_OF_63_A), abs=1e-6)


def test_one_charger_on_each_phase_is_a_balanced_load_and_binds_nothing() -> None:
    bench = Bench(site(network(cable("MB", "CP", 63.0)), {f"ev{i}": on_phase(None) for i in range(3)}))
    for i in range(3):
        bench.charger(f"ev{i}", 0.0, 0.2)
    assert problem_of(bench).groups == ()


def test_three_phase_devices_and_loads_put_a_third_on_each_phase() -> None:
    """By hand: the load takes 4 kW of each phase, the charger on a 7.36 kW of its own: 3.19 kW · 3 are left."""
    devices: dict[str, AnyDevice] = {
        "ev1": charger("CP"),
        "ev2": on_phase("a"),
        "shop": Meter(node="CP", profile="load"),
    }
    bench = Bench(site(network(cable("MB", "CP", 63.0)), devices, load_kw=(12.0,)))
    bench.charger("ev1", 0.0, 22 * HOURS / 50)
    bench.charger("ev2", 0.0, 7.36 * HOURS / 50)
    bench.meter("shop", 12.0)
    plan = bench.plan([0.1] * STEPS, [0.3] * STEPS)
    total = sum(plan.devices["ev1"].power_kw) / 3 + sum(plan.devices["ev2"].power_kw)
    assert total == approx(STEPS * (PHASE_OF_63_A - 4), abs=1e-6)
    # A kWh on three phases takes a third of phase a; one of the single-phase charger takes all of it.
    assert plan.devices["ev1"].power_kw == approx([22.0] * STEPS, abs=1e-6)
    assert [group.devices for group in problem_of(bench).groups] == [("ev1", "ev2")]


def test_phases_that_discharge_are_limited_like_those_that_charge() -> None:
    described = site(network(cable("MB", "CP", 63.0)), {f"ev{i}": on_phase("b", kw=7.0) for i in range(3)})
    bench = Bench(described)
    for i in range(3):
        bench.charger(f"ev{i}", 1.0, 0.0)
    plan = bench.plan([0.5] * STEPS, [0.6] * STEPS)
    power = power_of(plan, ["ev0", "ev1", "ev2"])
    assert [sum(step) for step in zip(*power.values(), strict=True)] == approx([-PHASE_OF_63_A] * STEPS, abs=1e-6)
    assert loadings(described, power)["MB-CP"] <= 1.0


def test_a_phase_that_discharges_makes_no_room_on_another() -> None:
    """A balanced sum would let 7 kW from phase b pay for 7 kW too many on phase a."""
    devices: dict[str, AnyDevice] = {f"a{i}": on_phase("a") for i in range(3)} | {"b": on_phase("b", kw=7.0)}
    bench = Bench(site(network(cable("MB", "CP", 63.0)), devices))
    for i in range(3):
        bench.charger(f"a{i}", 0.0, 0.3)
    bench.charger("b", 1.0, 0.0)
    plan = bench.plan([0.5] * STEPS, [0.6] * STEPS)
    power = power_of(plan, ["a0", "a1", "a2"])
    assert max(sum(step) for step in zip(*power.values(), strict=True)) == approx(PHASE_OF_63_A, abs=1e-6)
    assert min(plan.devices["b"].power_kw) == approx(-7.0, abs=1e-6)


def test_a_solver_that_is_restored_knows_the_shares() -> None:
    bench = Bench(site(network(cable("MB", "CP", 63.0)), {f"ev{i}": on_phase("a") for i in range(3)}))
    for i in range(3):
        bench.charger(f"ev{i}", 0.0, 0.3)
    problem = problem_of(bench)
    first, restored = Solver(), Solver()
    first.solve(problem)
    restored.restore(json.loads(json.dumps(first.snapshot())))
    again, anew = first.solve(problem), restored.solve(problem)
    assert isinstance(again, Solution) and isinstance(anew, Solution)
    assert (again.total_eur, again.iterations) == (anew.total_eur, anew.iterations)
    assert (again.of("charge") == anew.of("charge")).all()


def test_a_single_phase_charger_that_the_site_does_not_know_may_be_on_any_phase() -> None:
    """It hangs at the main node; the transformer's phases carry 4 kW each."""
    told = Bench(site(network(rated_kva=12.0), {"ev": on_phase("a", "MB")}))
    told.charger("ev", 0.0, 0.3)
    unknown = Bench(site(network(rated_kva=12.0), {"shop": Meter(node="MB", profile="load")}))
    unknown.births, unknown.telemetry = told.births, told.telemetry
    groups = problem_of(unknown).groups
    assert [(group.devices, group.shares) for group in groups] == [(("ev",), (1.0,))]
    assert groups[0].limit_kw == approx(4.0)
    assert max(unknown.plan([0.1] * STEPS, [0.3] * STEPS).devices["ev"].power_kw) == approx(4.0, abs=1e-6)


@settings(deadline=None, max_examples=12)
@given(st.data())
def test_plans_put_through_the_unbalanced_power_flow_overload_no_phase(data: st.DataObject) -> None:
    """Beyond what the approximation leaves out. The current of an element's phase is Σ P/U of the devices on it, and
    the limit is on Σ P at nominal voltage. So it may exceed by what voltages differ from nominal, on all that flows
    either way, and, in the transformer, by the network's losses and reactive power.
    """

    def kw(low: float, high: float) -> float:
        return data.draw(st.integers(round(low * 10), round(high * 10))) / 10

    def node() -> str:
        return data.draw(st.sampled_from(["A", "A1", "B"]))

    net = _stiff({ends: kw(20, 80) for ends in (("MB", "A"), ("A", "A1"), ("MB", "B"))}, rated_kva=kw(20, 80))
    load_kw = data.draw(st.floats(0, 1)) * min(element.limit_kw for element in elements_of(net))
    devices: dict[str, AnyDevice] = {
        "ev1": charger(node(), kw(5, 30)),
        "bess": Bess(node=node(), capacity_kwh=20.0, max_charge_kw=kw(5, 30), max_discharge_kw=kw(5, 30)),
        "shop": Meter(node=node(), profile="load"),
    }
    singles = [f"ev{i}" for i in range(2, 7)]
    devices |= {name: on_phase(data.draw(st.sampled_from([None, "a", "b"])), node(), kw(2, 7.4)) for name in singles}
    described = site(net, devices, load_kw=(load_kw,))
    bench = Bench(described)
    for name in ("ev1", *singles):
        bench.charger(name, kw(0, 1), kw(0, 1))
    bench.bess("bess", kw(0.1, 0.9))
    bench.meter("shop", load_kw)
    sale = [data.draw(st.integers(-2, 5)) / 10 for _ in range(STEPS)]
    plan = bench.plan(sale, [price + 0.1 for price in sale])

    names = ["ev1", *singles, "bess"]
    power = np.array([*power_of(plan, names).values(), (load_kw,) * STEPS]).T
    twin = SiteNetwork(described)
    flows = twin.flows([*names, "shop"], power)
    off_nominal = float(np.abs(1 / flows.voltages_pu - 1).max())
    assert off_nominal < 0.08, "the network is meant to be stiff"
    for element in elements_of(net):
        behind = [devices[name].node in element.nodes for name in (*names, "shop")]
        beyond_kw = off_nominal * np.abs(power[:, behind]).sum(axis=1)
        if element.name == "transformer":
            beyond_kw += flows.losses_kw + np.abs(flows.pcc_kvar).max(axis=1)
        loading = flows.loadings_frac[:, twin.flow.branches.index(element.name)]
        assert (loading <= 1 + beyond_kw / (element.limit_kw / 3) + 1e-6).all(), element


def _stiff(ampacities_a: dict[tuple[str, str], float], rated_kva: float) -> Network:
    """Voltages within a few percent of nominal, a transformer next to without losses."""
    cables = tuple(
        Cable(from_node=start, to_node=end, r_mohm=5, x_mohm=1, ampacity_a=amperes)
        for (start, end), amperes in ampacities_a.items()
    )
    transformer = Transformer(
        to_node="MB", rated_kva=rated_kva, high_kv=20, low_kv=0.4, vk_frac=0.01, vkr_frac=0.005, iron_loss_kw=0.01
    )
    return Network(transformer=transformer, cables=cables, main_node="MB")
