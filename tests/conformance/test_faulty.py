"""Faulty devices fail the examination, each on its own clause; the same device without a fault passes."""

import json
import threading
from pathlib import Path
from typing import Any

import pytest

from broker.address import BrokerAddress
from broker.servers.mosquitto import LocalMosquitto, find_mosquitto
from schemas.clauses import Clause
from services.conformance.proxy import CuttableWay
from services.conformance.verdicts import Verdicts
from tests.cli.calling import call
from tests.conformance.bench import examined, failures, not_judged
from tests.conformance.device import FAULTS, Device
from tests.parts import skip_without


def _examine(name: str, broker: BrokerAddress, results: dict[str, Verdicts], asked: dict[str, Any]) -> None:
    site = f"lab-{name.lower()}"
    with CuttableWay(0, broker.host, broker.port) as way:
        device = FAULTS.get(name, Device)(way.port, site)
        try:
            results[name] = examined(broker, site, "bess", way)
            asked[name] = device.asked
        finally:
            device.close()


def test_each_faulty_device_fails_on_its_own_clause_and_a_faultless_one_on_none() -> None:
    """All at once, for most of the time is waiting."""
    skip_without("Mosquitto", present=find_mosquitto() is not None)
    results: dict[str, Verdicts] = {}
    asked: dict[str, Any] = {}
    with LocalMosquitto() as broker:
        names = ["faultless", "again", *FAULTS]
        threads = [threading.Thread(target=_examine, args=(name, broker.address, results, asked)) for name in names]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(300)
    assert set(results) == set(names)
    assert failures(results["faultless"]) == {}
    assert not_judged(results["faultless"]) == set()
    assert asked["faultless"] == asked["again"], "the seed repeats what is random"
    assert {name: set(failures(results[name])) for name in FAULTS} == {name: {name} for name in FAULTS}, {
        name: failures(results[name]) for name in FAULTS if set(failures(results[name])) != {name}
    }


def test_the_command_says_which_clause_and_the_seed_and_its_exit_code_is_1(tmp_path: Path) -> None:
    skip_without("Mosquitto", present=find_mosquitto() is not None)
    with LocalMosquitto() as broker:
        device = FAULTS["S2"](broker.address.port, "lab")
        words = ("conform", "lab", "--device", "bess", "--broker", str(broker.address), "--seed", "7", "--count", "0")
        done = call(*words, "--json", "-", cwd=tmp_path)
        device.close()
        absent = call(*words[:3], "none", *words[4:], "--wait", "1", cwd=tmp_path)
    assert done.returncode == 1, done.stderr
    answer = json.loads(done.stdout)
    assert (answer["passed"], answer["seed"], answer["kind"]) == (False, 7, "bess")
    by_clause = {each["clause"]: each for each in answer["clauses"]}
    assert set(by_clause) == {str(clause) for clause in Clause}
    assert [name for name, each in by_clause.items() if each["outcome"] == "fail"] == ["S2"]
    assert "the nameplate allows 10 kW (seed 7)" in by_clause["S2"]["evidence"][0]
    assert by_clause["B3"]["outcome"] == "not judged"
    assert "failed: S2" in done.stderr
    assert absent.returncode == 1
    assert "nothing of none came at site lab within 1 s" in absent.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--at", "2024-05-17T08:00"), "--at: a time with its zone is allowed"),
        (("--speed", "10"), "--speed: needs --at"),
        (("--broker", "embedded"), "of a broker that runs is allowed"),
    ],
)
def test_wrong_input_is_named(words: tuple[str, ...], said: str, tmp_path: Path) -> None:
    done = call("conform", "lab", "--device", "bess", *words, cwd=tmp_path)
    assert done.returncode == 2
    assert said in done.stderr
