"""Cables by type and by cross-section, calculated by hand and against another program's table."""

from pathlib import Path
from typing import Any

import pytest
from pytest import approx

from schemas.site import Cable
from sites.loader import load_site
from sites.loader.conductors import OHM_PER_KM_20C, TYPES, Conductor, plain_type
from sites.loader.template import write_template
from twin_devices.network.electrical import SiteNetwork


def cables(folder: Path, *rows: str) -> dict[str, Cable]:
    """Of the template, with these rows in the place of its own; the rest goes straight to the busbar."""
    write_template(folder)
    path = folder / "site.yaml"
    before, rest = path.read_text(encoding="utf-8").split("  cables:", 1)
    others = [
        f"{{from_node: MB, to_node: {n}, r_mohm: 1, x_mohm: 1, ampacity_a: 99}}" for n in ("EV1", "EV2", "BESS", "PV")
    ]
    listed = "".join(f"    - {row}\n" for row in (*rows, *others))
    path.write_text(f"{before}  cables:\n{listed}\nprofiles:{rest.split('profiles:', 1)[1]}", encoding="utf-8")
    return {cable.to_node: cable for cable in load_site(folder).network.cables}


def test_by_type(tmp_path: Path) -> None:
    found = cables(
        tmp_path,
        "{from_node: MB, to_node: A, type: NAYY 4x150 SE, length_m: 200}",
        "{from_node: MB, to_node: B, type: nyy-j 4X35 sm, length_m: 80, parallel: 2}",
        "{from_node: MB, to_node: C, type: N2XY-O 5x10, length_m: 14, conductor_temp_c: 20, ampacity_a: 63}",
    )
    # 0.206 Ω/km · (1 + 0.00403 · 50) · 200 m
    assert found["A"].r_mohm == approx(49.50, abs=0.01)
    assert (found["A"].x_mohm, found["A"].ampacity_a) == (approx(16.0), 245)
    # 0.524 Ω/km · (1 + 0.00393 · 50) · 80 m / 2
    assert found["B"].r_mohm == approx(25.08, abs=0.01)
    assert (found["B"].x_mohm, found["B"].ampacity_a) == (approx(3.2), 252)
    # 1.83 Ω/km · 14 m
    assert found["C"].r_mohm == approx(25.62)
    assert (found["C"].x_mohm, found["C"].ampacity_a) == (approx(1.12), 63)
    assert {(cable.r0_factor, cable.x0_factor) for cable in found.values()} == {(4.0, 4.0)}


def test_by_material_and_cross_section(tmp_path: Path) -> None:
    found = cables(
        tmp_path,
        "{from_node: MB, to_node: A, material: copper, mm2: 240, insulation: xlpe, length_m: 1000, x_ohm_per_km: 0.07}",
        "{from_node: MB, to_node: B, material: aluminium, mm2: 95, length_m: 1000, r0_factor: 3}",
    )
    # 0.0754 Ω · (1 + 0.00393 · 70)
    assert (found["A"].r_mohm, found["A"].x_mohm, found["A"].ampacity_a) == (approx(96.14, abs=0.01), approx(70), 538)
    # 0.320 Ω · (1 + 0.00403 · 50)
    assert (found["B"].r_mohm, found["B"].ampacity_a, found["B"].r0_factor) == (approx(384.48), 183, 3)


def test_voltage_drop_of_a_cable_by_type(tmp_path: Path) -> None:
    """By hand, 33 kW at 400 V over 200 m of NAYY 4x150: the drop is about P · R / U² = 33 kW · 49.5 mΩ / (400 V)²."""
    cables(tmp_path, "{from_node: MB, to_node: A, type: NAYY 4x150, length_m: 200}")
    site = load_site(tmp_path)
    devices = site.devices | {"building": site.devices["building"].model_copy(update={"node": "A"})}
    network = SiteNetwork(site.model_copy(update={"devices": devices}))
    (solution,) = network.solve([network.injection({"building": 33.0})])
    voltage = dict(zip(network.flow.nodes, solution.voltages_pu, strict=True))
    assert voltage["MB"] - voltage["A"] == approx(33e3 * 49.5e-3 / 400**2, rel=0.02)


def test_rows_of_a_file_may_differ_in_how_they_say_what_the_cable_is(tmp_path: Path) -> None:
    cables(tmp_path)
    (tmp_path / "cables.csv").write_text(
        "from_node,to_node,type,length_m,parallel,r_mohm,x_mohm,ampacity_a,laid\n"
        "MB,EV1,NYY 4x35,80,2,,,,1999\nMB,EV2,,80,,12,1,75,2004\nMB,BESS,NYY 4x35,80,,,,,\nMB,PV,,,,12,1,75,\n"
    )
    path = tmp_path / "site.yaml"
    before, rest = path.read_text(encoding="utf-8").split("  cables:", 1)
    path.write_text(f"{before}  cables: {{file: cables.csv}}\nprofiles:{rest.split('profiles:', 1)[1]}")
    one, given, two, other = load_site(tmp_path).network.cables
    assert (two.r_mohm, two.ampacity_a) == (approx(2 * one.r_mohm), 126)
    assert given.model_copy(update={"to_node": "PV"}) == other


# pandapower 3.5.6, std_types.py (its source: Heuck, Elektrische Energieversorgung, 2013): r, x [Ω/km] at 20 °C. Its
# NAYY 4x120 SE has 0.225 Ω/km, which is less than aluminium of 120 mm² has (IEC 60228: at most 0.253), and is left out.
PANDAPOWER = {"NAYY 4x50 SE": (0.642, 0.083), "NAYY 4x150 SE": (0.208, 0.080)}


@pytest.mark.parametrize("name", PANDAPOWER)
def test_resistance_and_reactance_are_those_of_pandapowers_types(name: str, tmp_path: Path) -> None:
    cable = cables(tmp_path, f"{{from_node: MB, to_node: A, type: {name}, length_m: 1000, conductor_temp_c: 20}}")["A"]
    r_ohm_per_km, x_ohm_per_km = PANDAPOWER[name]
    assert cable.r_mohm / 1e3 == approx(r_ohm_per_km, rel=0.01)
    assert cable.x_mohm / 1e3 == approx(x_ohm_per_km, rel=0.04)


def test_tables_are_of_one_mind() -> None:
    """Resistance times cross-section is nearly constant; ampacity rises with it; copper and XLPE carry more."""
    resistivity: dict[Any, tuple[float, float]] = {"copper": (17.24, 19.4), "aluminium": (28.26, 32.1)}  # Ω·mm²/km
    for material, (least, most) in resistivity.items():
        sections = list(OHM_PER_KM_20C[material])
        for mm2, ohm_per_km in OHM_PER_KM_20C[material].items():
            assert least < ohm_per_km * mm2 < most, (material, mm2)
        pvc, xlpe = ([Conductor(material, mm2, kind).ampacity_a for mm2 in sections] for kind in ("pvc", "xlpe"))
        assert pvc == sorted(pvc)
        assert all(more / less == approx(1.25, abs=0.035) for less, more in zip(pvc, xlpe, strict=True))
    for mm2 in OHM_PER_KM_20C["aluminium"]:
        ratio = Conductor("copper", mm2, "pvc").ampacity_a / Conductor("aluminium", mm2, "pvc").ampacity_a
        assert ratio == approx(1.3, abs=0.02), mm2


def test_every_type_is_found_as_it_is_written() -> None:
    assert all(plain_type(name) == name for name in TYPES)
    assert len(TYPES) == 2 * (16 + 11) * 2


def test_cables_of_the_car_park_are_by_cross_section() -> None:
    cable = next(cable for cable in load_site("carpark").network.cables if cable.name == "CPB-EV01")
    # 14 m of 10 mm² copper at 70 °C: 1.83 Ω/km · 1.1965
    assert (cable.r_mohm, cable.x_mohm, cable.ampacity_a) == (approx(30.6543, abs=1e-4), approx(1.2054), 75)
