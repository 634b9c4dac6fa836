"""Cables and the transformer as limits of the plan."""

import math
from datetime import date, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pytest import approx

from schemas.messages import (
    BessNameplate,
    BessTelemetry,
    ChargerNameplate,
    ChargerTelemetry,
    MeterNameplate,
    MeterRole,
    MeterTelemetry,
    NetworkTelemetry,
    Plan,
    Quantity,
    Series,
    ShortfallKind,
)
from schemas.participant import Received
from schemas.site import (
    AnyDevice,
    Bess,
    Cable,
    Charger,
    Connection,
    DayProfile,
    EmsOptions,
    GroupLimit,
    Location,
    Meter,
    Network,
    Site,
    Tariff,
    Transformer,
)
from schemas.site.ratings import elements_of
from schemas.topics import Channel, Kind
from services.ems.participant import Ems
from services.ems.problem import Problem
from sites.loader import load_site
from tests.ems.small_site import T0, IdealPlant, begin, birth, cycle, received, turn, values, vehicle

STEPS = 8
END = T0 + timedelta(minutes=15 * STEPS)
ROOT_3 = math.sqrt(3)


def cable(from_node: str, to_node: str, ampacity_a: float = 1000.0) -> Cable:
    return Cable(from_node=from_node, to_node=to_node, r_mohm=1, x_mohm=1, ampacity_a=ampacity_a)


def network(*cables: Cable, rated_kva: float = 1000.0) -> Network:
    transformer = Transformer(
        to_node="MB", rated_kva=rated_kva, high_kv=20, low_kv=0.4, vk_frac=0.06, vkr_frac=0.01, iron_loss_kw=1
    )
    return Network(transformer=transformer, cables=cables, main_node="MB")


def site(net: Network, devices: dict[str, AnyDevice], load_kw: tuple[float, ...] = (0.0,), **options: Any) -> Site:
    return Site(
        site="small",
        location=Location(latitude_deg=45.07, longitude_deg=7.69),
        date=date(2024, 5, 17),
        connection=Connection(import_limit_kw=500, export_limit_kw=500),
        tariff=Tariff(sale="sale", spread_eur_per_kwh=0.2),
        devices=devices,
        network=net,
        profiles={"sale": DayProfile(values=(0.1,)), "load": DayProfile(values=load_kw)},
        ems=EmsOptions(bess_terminal_soc_frac=None, **options),
    )


def charger(node: str, kw: float = 22.0, **options: Any) -> Charger:
    given = {"max_discharge_kw": kw, "charge_efficiency": 1.0, "discharge_efficiency": 1.0} | options
    return Charger(node=node, max_charge_kw=kw, **given)


def on_phase(phase: str | None, node: str = "CP", kw: float = 7.36) -> Charger:
    return charger(node, kw, phases=1, phase=phase, current="ac")


class Bench:
    """Tells an EMS of a site's devices and takes its plan."""

    def __init__(self, described: Site) -> None:
        self.site = described
        self.births: list[Received] = []
        self.telemetry: list[Received] = []

    def charger(self, name: str, soc_frac: float, target_frac: float) -> None:
        spec = self.site.devices[name]
        assert isinstance(spec, Charger)
        shared = ChargerNameplate.model_fields.keys() & Charger.model_fields.keys()
        nameplate = ChargerNameplate(**spec.model_dump(include=set(shared)))
        self.births.append(birth(Kind.CHARGER, name, nameplate))
        car = vehicle(
            soc_frac, T0, END, capacity_kwh=50.0, target_soc_frac=target_frac, soc_min_frac=0.0, soc_max_frac=1.0
        )
        self.telemetry.append(
            received(Kind.CHARGER, name, Channel.TELEMETRY, ChargerTelemetry(power_kw=0.0, vehicle=car))
        )

    def bess(self, name: str, soc_frac: float) -> None:
        spec = self.site.devices[name]
        assert isinstance(spec, Bess)
        nameplate = BessNameplate(
            **{field: getattr(spec, field) for field in BessNameplate.model_fields if hasattr(spec, field)}
        )
        self.births.append(birth(Kind.BESS, name, nameplate))
        body = BessTelemetry(power_kw=0.0, soc_frac=soc_frac)
        self.telemetry.append(received(Kind.BESS, name, Channel.TELEMETRY, body))

    def meter(self, name: str, power_kw: float) -> None:
        self.births.append(birth(Kind.METER, name, MeterNameplate(role=MeterRole.LOAD)))
        self.telemetry.append(received(Kind.METER, name, Channel.TELEMETRY, MeterTelemetry(power_kw=power_kw)))

    def pcc(self, power_kw: float, losses_kw: float = 0.0) -> None:
        self.births.append(birth(Kind.NETWORK, "network", MeterNameplate(role=MeterRole.PCC)))
        body = NetworkTelemetry(
            power_kw=power_kw,
            losses_kw=losses_kw,
            losses_kwh=0.0,
            residual_kwh=0.0,
            voltages_pu={},
            loadings_frac={},
        )
        self.telemetry.append(received(Kind.NETWORK, "network", Channel.TELEMETRY, body))

    def ems(self, sale: list[float], purchase: list[float]) -> Ems:
        both = (values(Quantity.SALE_PRICE, sale), values(Quantity.PURCHASE_PRICE, purchase))
        ems = Ems(self.site)
        series = received(Kind.TARIFF, "tariff", Channel.SERIES, Series(series=both))
        ems.act(turn(T0, n=1), [*self.births, series])
        return ems

    def plan(self, sale: list[float], purchase: list[float]) -> Plan:
        return self.ems(sale, purchase).plan_at(turn(T0, n=1), self.telemetry)


def test_behind_a_cable_is_what_only_it_connects_with_the_pcc() -> None:
    found = {
        element.name: element
        for element in elements_of(
            network(cable("MB", "A", 63.0), cable("A", "A1"), cable("MB", "B"), cable("B", "C"), cable("C", "MB"))
        )
    }
    # The cables of the mesh MB-B-C are left out: none of them alone carries what is behind them.
    assert sorted(found) == ["A-A1", "MB-A", "transformer"]
    assert (found["MB-A"].nodes, found["A-A1"].nodes) == ({"A", "A1"}, {"A1"})
    assert found["transformer"].nodes == {"MB", "A", "A1", "B", "C"}
    assert found["MB-A"].limit_kw == approx(43.648, abs=1e-3)  # √3 · 0.4 kV · 63 A
    assert found["transformer"].limit_kw == 1000.0


def test_a_cable_on_the_high_voltage_side_carries_more() -> None:
    transformer = Transformer(
        from_node="S", to_node="MB", rated_kva=400, high_kv=20, low_kv=0.4, vk_frac=0.06, vkr_frac=0.01, iron_loss_kw=1
    )
    net = Network(transformer=transformer, cables=(cable("S", "T", 63.0),), main_node="MB")
    assert elements_of(net)[0].limit_kw == approx(2182.4, abs=0.1)  # √3 · 20 kV · 63 A


def test_two_chargers_of_22_kw_behind_a_cable_of_63_a() -> None:
    bench = Bench(site(network(cable("MB", "CP", 63.0)), {"ev1": charger("CP"), "ev2": charger("CP")}))
    for name in ("ev1", "ev2"):
        bench.charger(name, 0.0, 0.87)  # 43.5 kWh each: full power for all of the two hours would give 44
    plan = bench.plan([0.1] * STEPS, [0.3] * STEPS)
    limit = ROOT_3 * 0.4 * 63
    total = [a + b for a, b in zip(plan.devices["ev1"].power_kw, plan.devices["ev2"].power_kw, strict=True)]
    # By hand: 2 · 43.5 kWh are wanted, 2 h · 43.648 kW = 87.30 kWh can be had: enough, and never above the cable.
    assert sum(total) / 4 == approx(87.0, abs=1e-6)
    assert max(total) <= limit + 1e-9
    assert plan.shortfalls == ()


def test_what_the_cable_cannot_carry_is_missing_at_departure() -> None:
    bench = Bench(site(network(cable("MB", "CP", 63.0)), {"ev1": charger("CP"), "ev2": charger("CP")}))
    for name in ("ev1", "ev2"):
        bench.charger(name, 0.0, 0.88)  # 44 kWh each
    plan = bench.plan([0.1] * STEPS, [0.3] * STEPS)
    assert {shortfall.kind for shortfall in plan.shortfalls} == {ShortfallKind.DEPARTURE}
    assert sum(shortfall.kwh for shortfall in plan.shortfalls) == approx(88 - 2 * ROOT_3 * 0.4 * 63, abs=1e-6)


def test_a_load_behind_the_cable_counts_along() -> None:
    devices: dict[str, AnyDevice] = {"ev1": charger("CP"), "shop": Meter(node="CP", profile="load")}
    bench = Bench(site(network(cable("MB", "CP", 63.0)), devices, load_kw=(30.0,)))
    bench.charger("ev1", 0.0, 0.8)
    bench.meter("shop", 30.0)
    plan = bench.plan([0.1] * STEPS, [0.3] * STEPS)
    assert max(plan.devices["ev1"].power_kw) == approx(ROOT_3 * 0.4 * 63 - 30, abs=1e-6)


def test_export_is_limited_like_import() -> None:
    # Discharging 44 kW would pay; the cable carries 43.6.
    bench = Bench(site(network(cable("MB", "CP", 63.0)), {"ev1": charger("CP"), "ev2": charger("CP")}))
    for name in ("ev1", "ev2"):
        bench.charger(name, 1.0, 0.0)
    plan = bench.plan([0.5] * STEPS, [0.6] * STEPS)
    total = [a + b for a, b in zip(plan.devices["ev1"].power_kw, plan.devices["ev2"].power_kw, strict=True)]
    assert min(total) == approx(-ROOT_3 * 0.4 * 63, abs=1e-6)


def test_a_limit_that_cannot_bind_is_not_in_the_problem() -> None:
    for ampacity, groups in ((64.0, 0), (63.0, 1)):  # 44.3 and 43.6 kW
        bench = Bench(site(network(cable("MB", "CP", ampacity)), {"ev1": charger("CP"), "ev2": charger("CP")}))
        for name in ("ev1", "ev2"):
            bench.charger(name, 0.5, 0.8)
        ems = bench.ems([0.1] * STEPS, [0.3] * STEPS)
        ems.plan_at(turn(T0, n=1), bench.telemetry)
        problem = ems.problem_at(turn(T0, n=1))
        assert isinstance(problem, Problem)
        assert len(problem.groups) == groups


def test_the_transformer_limits_like_a_cable_and_the_tightest_of_equals_counts() -> None:
    net = network(cable("MB", "CP", 63.0), rated_kva=40.0)
    bench = Bench(site(net, {"ev1": charger("CP"), "ev2": charger("CP")}))
    for name in ("ev1", "ev2"):
        bench.charger(name, 0.0, 0.9)
    ems = bench.ems([0.1] * STEPS, [0.3] * STEPS)
    plan = ems.plan_at(turn(T0, n=1), bench.telemetry)
    total = [a + b for a, b in zip(plan.devices["ev1"].power_kw, plan.devices["ev2"].power_kw, strict=True)]
    assert max(total) == approx(40.0, abs=1e-6)


def test_the_load_of_a_silent_meter_takes_its_room_in_the_transformer() -> None:
    """By hand: the PCC says 30 kW and no device draws any, so 40 - 30 = 10 kW are left."""
    devices: dict[str, AnyDevice] = {"ev1": charger("CP"), "shop": Meter(node="CP", profile="load")}
    bench = Bench(site(network(cable("MB", "CP"), rated_kva=40.0), devices, load_kw=(30.0,)))
    bench.charger("ev1", 0.0, 0.8)
    bench.pcc(30.0)
    plan = bench.plan([0.1] * STEPS, [0.3] * STEPS)
    assert plan.load_kw == (30.0,) * STEPS
    assert max(plan.devices["ev1"].power_kw) == approx(10.0, abs=1e-6)


@pytest.mark.parametrize(("soc_frac", "target_frac", "wanted_kw"), [(0.0, 0.9, 43.648 - 30), (1.0, 0.0, -43.648)])
def test_a_load_that_may_be_elsewhere_takes_room_and_makes_none(
    soc_frac: float, target_frac: float, wanted_kw: float
) -> None:
    """The described meter is behind the cable and is silent: the load may be there, or at the main node."""
    devices: dict[str, AnyDevice] = {
        "ev1": charger("CP", 30.0),
        "ev2": charger("CP", 30.0),
        "shop": Meter(node="CP", profile="load"),
    }
    bench = Bench(site(network(cable("MB", "CP", 63.0)), devices, load_kw=(30.0,)))
    for name in ("ev1", "ev2"):
        bench.charger(name, soc_frac, target_frac)
    bench.pcc(30.0)
    prices = (0.1, 0.3) if wanted_kw > 0 else (0.5, 0.6)
    plan = bench.plan([prices[0]] * STEPS, [prices[1]] * STEPS)
    total = [a + b for a, b in zip(plan.devices["ev1"].power_kw, plan.devices["ev2"].power_kw, strict=True)]
    assert max(total, key=abs) == approx(wanted_kw, abs=1e-3)


def test_losses_take_room_in_the_transformer_from_what_is_drawn_only() -> None:
    """By hand: of 40 kVA 2 kW are lost, and they do not flow out of the busbar when power is given."""
    net = network(cable("MB", "CP"), rated_kva=40.0)
    for soc_frac, target_frac, sale, most in ((0.0, 0.9, 0.1, 38.0), (1.0, 0.0, 0.5, -40.0)):
        bench = Bench(site(net, {"ev1": charger("CP", 30.0), "ev2": charger("CP", 30.0)}))
        for name in ("ev1", "ev2"):
            bench.charger(name, soc_frac, target_frac)
        bench.pcc(2.0, losses_kw=2.0)
        plan = bench.plan([sale] * STEPS, [sale + 0.1] * STEPS)
        total = [a + b for a, b in zip(plan.devices["ev1"].power_kw, plan.devices["ev2"].power_kw, strict=True)]
        assert max(total, key=abs) == approx(most, abs=1e-6)


def test_reactive_power_of_a_meter_takes_room_in_both_directions() -> None:
    """By hand: 24 kW at a power factor of 0.8 are 18 kvar; √(43.648² − 18²) = 39.764 kW are left for active power."""
    net = network(cable("MB", "CP", 63.0))
    for soc_frac, target_frac, sale, most in ((0.0, 0.9, 0.1, 39.764 - 24), (1.0, 0.0, 0.5, -39.764 - 24)):
        devices: dict[str, AnyDevice] = {
            "ev1": charger("CP", 50.0),
            "ev2": charger("CP", 50.0),
            "shop": Meter(node="CP", profile="load", power_factor=0.8),
        }
        bench = Bench(site(net, devices, load_kw=(24.0,)))
        for name in ("ev1", "ev2"):
            bench.charger(name, soc_frac, target_frac)
        bench.meter("shop", 24.0)
        plan = bench.plan([sale] * STEPS, [sale + 0.1] * STEPS)
        total = [a + b for a, b in zip(plan.devices["ev1"].power_kw, plan.devices["ev2"].power_kw, strict=True)]
        assert max(total, key=abs) == approx(most, abs=1e-3)


def test_two_rows_between_the_same_nodes_are_one_cable() -> None:
    """By hand: resistances of 1 and 3 mΩ take three quarters and one quarter of the current, so the first is at its
    63 A when both carry 84 A; written from either end."""
    rows = [
        Cable(from_node="MB", to_node="CP", r_mohm=1, x_mohm=0, ampacity_a=63),
        Cable(from_node="CP", to_node="MB", r_mohm=3, x_mohm=0, ampacity_a=63),
    ]
    element, _ = elements_of(network(*rows))
    assert (element.name, element.nodes) == ("MB-CP", {"CP"})
    assert element.limit_kw == approx(ROOT_3 * 0.4 * 84)
    # Two of a kind carry twice as much.
    assert elements_of(network(rows[0], rows[0]))[0].limit_kw == approx(ROOT_3 * 0.4 * 126)
    bench = Bench(site(network(*rows), {f"ev{i}": charger("CP") for i in (1, 2, 3)}))
    for name in ("ev1", "ev2", "ev3"):
        bench.charger(name, 0.0, 0.9)
    plan = bench.plan([0.1] * STEPS, [0.3] * STEPS)
    total = [sum(powers) for powers in zip(*(plan.devices[f"ev{i}"].power_kw for i in (1, 2, 3)), strict=True)]
    assert max(total) == approx(ROOT_3 * 0.4 * 84, abs=1e-6)


@pytest.mark.parametrize("phases", [3, 1])
def test_a_load_beyond_the_cable_is_a_shortfall_of_the_cable(phases: int) -> None:
    """By hand: 60 kW for two hours, where √3 · 0.4 kV · 63 A = 43.648 kW may flow. By phase it is the same in all."""
    ev = (
        charger("CP", max_discharge_kw=0.0) if phases == 3 else on_phase("a").model_copy(update={"max_discharge_kw": 0})
    )
    bench = Bench(
        site(network(cable("MB", "CP", 63.0)), {"ev1": ev, "shop": Meter(node="CP", profile="load")}, (60.0,))
    )
    bench.charger("ev1", 0.5, 0.5)
    bench.meter("shop", 60.0)
    (excess,) = bench.plan([0.1] * STEPS, [0.3] * STEPS).shortfalls
    assert (excess.kind, excess.element, excess.device) == (ShortfallKind.NETWORK_LIMIT, "MB-CP", None)
    assert excess.at == T0
    # With one single-phase charger only its phase can be overloaded by what the EMS commands, so that one is watched.
    assert excess.kwh == approx(2 * (60 - ROOT_3 * 0.4 * 63) / (1 if phases == 3 else 3), abs=1e-6)
    assert excess.eur == approx(50 * excess.kwh)


def test_power_beyond_a_limit_that_the_site_names_is_a_shortfall_of_that_limit() -> None:
    """By hand: an uncontrolled charger takes 22 kW of the group's 10, for an hour: 12 kWh."""
    groups = (GroupLimit(devices=("ev9",), limit_kw=99.0), GroupLimit(devices=("ev1",), limit_kw=10.0))
    ev = charger("CP", max_discharge_kw=0.0, controllable=False)
    bench = Bench(site(network(cable("MB", "CP")), {"ev1": ev, "ev9": charger("CP")}, cable_limits=groups))
    bench.charger("ev1", 0.0, 22 / 50)
    (excess,) = bench.plan([0.1] * STEPS, [0.3] * STEPS).shortfalls
    assert (excess.kind, excess.element) == (ShortfallKind.GROUP_LIMIT, "ems.cable_limits.1")
    assert excess.kwh == approx(12.0, abs=1e-6)


@settings(deadline=None, max_examples=12)
@given(st.data())
def test_plans_stay_within_the_network_where_that_is_possible(data: st.DataObject) -> None:
    """Possible is it where the load alone is within each limit: storage may rest, and every wish is soft."""

    def kw(low: float, high: float) -> float:
        return data.draw(st.integers(round(low * 10), round(high * 10))) / 10

    ampacities = {node: kw(20, 120) for node in ("A", "A1", "B")}
    net = network(
        cable("MB", "A", ampacities["A"]),
        cable("A", "A1", ampacities["A1"]),
        cable("MB", "B", ampacities["B"]),
        rated_kva=kw(20, 80),
    )
    limits = {element.name: element for element in elements_of(net)}
    load_kw = data.draw(st.floats(0, 1)) * min(element.limit_kw for element in limits.values())
    node_of = {"ev1": "A1", "ev2": data.draw(st.sampled_from(["A", "A1", "B"])), "bess": "B", "shop": "A1"}
    devices: dict[str, AnyDevice] = {
        "ev1": charger(node_of["ev1"]),
        "ev2": charger(node_of["ev2"], kw(5, 50)),
        "bess": Bess(node="B", capacity_kwh=20.0, max_charge_kw=kw(5, 60), max_discharge_kw=kw(5, 60)),
        "shop": Meter(node="A1", profile="load"),
    }
    bench = Bench(site(net, devices, load_kw=(load_kw,)))
    bench.charger("ev1", kw(0, 1), kw(0, 1))
    bench.charger("ev2", kw(0, 1), kw(0, 1))
    bench.bess("bess", kw(0.1, 0.9))
    bench.meter("shop", load_kw)
    sale = [data.draw(st.integers(-2, 5)) / 10 for _ in range(STEPS)]
    plan = bench.plan(sale, [price + 0.1 for price in sale])
    power = {name: plan.devices[name].power_kw for name in ("ev1", "ev2", "bess")} | {"shop": (load_kw,) * STEPS}
    for element in limits.values():
        behind = [power[name] for name, node in node_of.items() if node in element.nodes]
        for total in map(sum, zip(*behind, strict=True)):
            assert abs(total) <= element.limit_kw + 1e-6, element


def test_the_default_sites_network_binds_nothing() -> None:
    ems, plant = Ems(load_site("fit_g2v")), IdealPlant()
    begin(ems, plant)
    cycle(ems, plant, 0)
    problem = ems.problem_at(turn(T0, n=1))
    assert isinstance(problem, Problem)
    assert (len(problem.chargers), len(problem.bess), len(problem.pv)) == (4, 1, 1)
    assert problem.groups == ()
