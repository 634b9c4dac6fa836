"""Sites without a network, and those of a low-voltage connection: read from a file, run, and said in the result."""

from datetime import timedelta
from pathlib import Path

import pytest
import yaml

from schemas.cycle import Course
from schemas.errors import InputError
from services.analysis.run_result import RunResult
from services.analysis.summary import blocks
from sites.loader import load_site
from sites.loader.template import write_template
from twinswarm.simulation.pipeline import Order, conduct_in_memory
from twinswarm.simulation.runs import local_course
from twinswarm.simulation.variants import Reference, StorageChoice

PCC = "PCC"


def described(folder: Path, network: object, *, nodes: bool = False) -> Path:
    """The template's site with another network, None: with none. ``nodes``: devices keep those they name."""
    write_template(folder)
    file = folder / "site.yaml"
    written = yaml.safe_load(file.read_text(encoding="utf-8"))
    del written["network"]
    if network is not None:
        written["network"] = network
    if not nodes:
        for device in written["devices"].values():
            device.pop("node", None)
    file.write_text(yaml.safe_dump(written, sort_keys=False), encoding="utf-8")
    return file


def test_a_site_may_have_no_network(tmp_path: Path) -> None:
    site = load_site(described(tmp_path / "house", None))
    assert (site.network.is_busbar, site.network.nodes, site.network.main_node) == (True, (PCC,), PCC)


def test_a_device_cannot_name_a_node_where_there_is_no_network(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        load_site(described(tmp_path / "house", None, nodes=True))
    assert any("ev1.node: is not a node of the network; nodes are PCC" in str(fault) for fault in caught.value.faults)


def late_morning(file: Path) -> RunResult:
    site = load_site(file)
    t0 = local_course(site, site.date).t0 + timedelta(hours=9)
    course = Course(t0, t0 + timedelta(hours=4), site.time.step_s)
    order = Order(site, course, StorageChoice.BOTH, Reference.SMART, file.with_name("history.sqlite"))
    return conduct_in_memory(order)


def losses_row(result: RunResult) -> tuple[str, str]:
    return next((line.value, line.note) for block in blocks(result) for line in block.lines if "losses" in line.label)


def test_a_run_on_a_busbar_has_the_stated_losses_and_says_so(tmp_path: Path) -> None:
    lossless = late_morning(described(tmp_path / "a", None))
    assert lossless.losses_kwh == 0.0
    assert losses_row(lossless) == ("0.00 kWh", "no network is described: one busbar without losses")
    lossy = late_morning(described(tmp_path / "b", {"losses_frac": 0.03}))
    # P = import - export at the PCC is the sum of the devices and of 3 % of its amount.
    drawn, given = lossy.import_kwh / 1.03, lossy.export_kwh / 0.97
    assert lossy.losses_kwh == pytest.approx(0.03 * (drawn + given), rel=1e-9)
    assert losses_row(lossy)[1] == "no network is described: 3.0% of the power at the busbar, as the site states"
    assert lossy.energy_residual_kwh_max is not None and lossy.energy_residual_kwh_max < 1e-9


def test_a_run_at_a_low_voltage_connection_keeps_to_its_cable(tmp_path: Path) -> None:
    cables = [{"from_node": "HAK", "to_node": "MB", "type": "NYY 4x50", "length_m": 20}]
    network = {"pcc_node": "HAK", "main_node": "MB", "cables": cables, "source_short_circuit_mva": 4.0}
    result = late_morning(described(tmp_path / "house", network))
    assert result.losses_kwh > 0
    assert losses_row(result)[1] == ""
    assert result.energy_residual_kwh_max is not None and result.energy_residual_kwh_max < 1e-9
    assert result.unsolved_steps == ()
