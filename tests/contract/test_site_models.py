"""The site description's own rules, as code that builds one without files meets them."""

import json
from typing import Any

import pytest
from pydantic import ValidationError

from schemas.site import (
    NETWORK,
    SERVICES,
    Bess,
    Cable,
    Charger,
    Network,
    Site,
    Tariff,
    TimeOptions,
    Transformer,
    Vehicle,
)
from schemas.topics import Kind
from sites.loader import load_site

STUDY: dict[str, Any] = json.loads(load_site("fit_g2v").model_dump_json())


def site_with(**changes: Any) -> Site:
    return Site.model_validate_json(json.dumps(STUDY | changes))


def test_services_and_the_network_twin_have_the_identifiers_of_the_topics() -> None:
    assert SERVICES == {
        "clock": Kind.CLOCK,
        "ems": Kind.EMS,
        "recorder": Kind.RECORDER,
        "forecast": Kind.FORECAST,
        "tariff": Kind.TARIFF,
    }
    assert NETWORK == "network"


@pytest.mark.parametrize("name", [*SERVICES, NETWORK, "observer"])
def test_reserved_identifiers_are_refused(name: str) -> None:
    with pytest.raises(ValidationError, match=f"devices.{name}: this identifier is reserved"):
        site_with(devices=STUDY["devices"] | {name: STUDY["devices"]["bess"]})


def test_all_references_that_lead_nowhere_are_told_together() -> None:
    devices = STUDY["devices"] | {"b2": STUDY["devices"]["bess"] | {"node": "X"}}
    with pytest.raises(ValidationError) as caught:
        site_with(devices=devices, tariff={"sale": "p", "spread_eur_per_kwh": 0.1})
    assert "devices.b2.node" in str(caught.value)
    assert "tariff.sale" in str(caught.value)


def test_dated_and_daily_stays_of_one_charger_may_not_meet() -> None:
    charger = STUDY["devices"]["ev1"]
    daily = charger["daily"][0]
    stay = {name: value for name, value in daily.items() if name != "weekdays"}
    stay |= {"vehicle": "guest", "arrival": "2024-05-17T15:59:00Z", "departure": "2024-05-17T19:00:00Z"}
    with pytest.raises(ValidationError, match=r"devices.ev1.sessions: a dated and a daily session overlap: guest"):
        site_with(devices=STUDY["devices"] | {"ev1": charger | {"sessions": [stay]}})
    after = stay | {"arrival": "2024-05-17T16:00:00Z"}  # 18:00 in Rome, when the daily car leaves
    assert site_with(devices=STUDY["devices"] | {"ev1": charger | {"sessions": [after]}})


def test_site_is_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        load_site("fit_g2v").description = "x"  # type: ignore[misc]


_TRANSFORMER = Transformer(
    to_node="MB", rated_kva=250, high_kv=20, low_kv=0.4, vk_frac=0.04, vkr_frac=0.01, iron_loss_kw=1
)


def _cable(one: str, other: str) -> Cable:
    return Cable(from_node=one, to_node=other, r_mohm=10, x_mohm=1, ampacity_a=100)


def test_network_knows_its_nodes_in_order_and_may_be_meshed_and_written_backwards() -> None:
    network = Network(
        transformer=_TRANSFORMER, cables=(_cable("B", "A"), _cable("A", "MB"), _cable("MB", "B")), main_node="MB"
    )
    assert network.nodes == ("PCC", "MB", "B", "A")


def test_network_with_an_island_is_refused() -> None:
    with pytest.raises(ValidationError, match="nodes without a connection to PCC: A, B"):
        Network(transformer=_TRANSFORMER, cables=(_cable("A", "B"),), main_node="MB")


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Tariff(sale="p"), "exactly one of purchase, purchase_price and spread_eur_per_kwh"),
        (lambda: TimeOptions(step_s=700), "step_s 700 does not divide an hour"),
        (lambda: Charger(max_charge_kw=3, min_power_kw=4.14), "min_power_kw 4.14 is above max_charge_kw 3"),
        (
            lambda: Charger(max_charge_kw=22, max_discharge_kw=11, current="ac", phases=1),
            "max_discharge_kw 11.0 is above 7.4 kW",
        ),
        (
            lambda: Bess(capacity_kwh=1, max_charge_kw=1, max_discharge_kw=1, initial_soc_frac=0.95),
            "initial_soc_frac 0.95 is not between",
        ),
        (
            lambda: Vehicle(capacity_kwh=50, arrival_soc_frac=0.5, target_soc_frac=0.9, soc_max_frac=0.8),
            "target_soc_frac 0.9 is above soc_max_frac 0.8",
        ),
    ],
)
def test_parts_that_contradict_themselves_are_refused(build: Any, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        build()
