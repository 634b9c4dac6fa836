"""The product's twins by the contract, through a connection that is cut."""

import threading
from datetime import UTC, datetime

from broker.address import BrokerAddress
from broker.servers.mosquitto import LocalMosquitto, find_mosquitto
from schemas.clauses import Clause
from schemas.site import Site
from services.conformance.verdicts import Outcome, Verdicts
from sites.loader import load_site
from tests.conformance.bench import examined, failures, living, not_judged, wishes
from tests.parts import skip_without
from tests.provision.secured import SITE, Secured
from twinswarm.deploy.examining import Moment
from twinswarm.deploy.process import Connection
from twinswarm.simulation.compose import maker

MAY = Moment(datetime(2024, 5, 17, 10, tzinfo=UTC))
JANUARY = Moment(datetime(2024, 1, 17, 10, tzinfo=UTC))
TWINS = {
    "bess": ("fit_g2v", MAY),
    "ev1": ("fit_g2v", MAY),
    "pv": ("fit_g2v", MAY),
    "building": ("fit_g2v", MAY),
    "heatpump": ("heatpump", JANUARY),
}


def quick(site: Site, device: str) -> Site:
    """The site under a name of its own, with a device that sends four times a second."""
    spec = site.devices[device]
    changes: dict[str, object] = {"telemetry_period_s": 0.25}
    if hasattr(spec, "dead_time_s"):
        changes["dead_time_s"] = 0.2
    devices = {**site.devices, device: spec.model_copy(update=changes)}
    return site.model_copy(update={"site": f"lab-{device}", "devices": devices})


def _examine(device: str, broker: BrokerAddress, results: dict[str, Verdicts]) -> None:
    name, moment = TWINS[device]
    site = quick(load_site(name), device)
    with living(maker(site, device), broker) as way:
        results[device] = examined(broker, site.site, device, way, moment)


def test_it_examines_by_certificates_where_there_is_an_access_list(secured: Secured) -> None:
    site = quick(load_site("fit_g2v"), "bess").model_copy(update={"site": SITE})
    proof = secured.folder.credentials("bess")
    with living(maker(site, "bess"), secured.address, proof) as way:
        connection = Connection(secured.address, certificates=secured.folder.root)
        verdicts = examined(connection, SITE, "bess", way, MAY, wishes(count=0))
    assert (failures(verdicts), not_judged(verdicts)) == ({}, set())
    assert secured.denied == []


def test_every_kind_of_twin_passes() -> None:
    skip_without("Mosquitto", present=find_mosquitto() is not None)
    results: dict[str, Verdicts] = {}
    with LocalMosquitto() as broker:
        threads = [threading.Thread(target=_examine, args=(name, broker.address, results)) for name in TWINS]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(300)
    assert {name: failures(results[name]) for name in TWINS} == {name: {} for name in TWINS}
    assert {name: not_judged(results[name]) for name in TWINS if name != "building"} == {
        name: set() for name in TWINS if name != "building"
    }
    meter = results["building"]
    assert {clause for clause, outcome in meter.outcomes.items() if outcome is Outcome.NOT_JUDGED} == {
        clause for clause in Clause if clause.startswith("S") or clause is Clause.EXPIRY_ALONE
    }
