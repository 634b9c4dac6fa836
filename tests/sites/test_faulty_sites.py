"""Faulty site descriptions: every fault is named with its file, field and value; all of them at once."""

import gzip
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from schemas.errors import InputError
from sites.loader import load_site
from sites.loader.template import write_template


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_template(tmp_path)
    return tmp_path


def change(folder: Path, *changes: tuple[str, str], file: str = "site.yaml") -> None:
    path = folder / file
    text = path.read_text(encoding="utf-8")
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new, 1)
    path.write_text(text, encoding="utf-8")


def messages(folder: Path) -> list[str]:
    """The faults of the site, once their lines have been compared with the file: what follows has no line of it."""
    with pytest.raises(InputError) as caught:
        load_site(folder / "site.yaml")
    return [_without_line(folder / "site.yaml", str(fault)) for fault in caught.value.faults]


def _without_line(site: Path, text: str) -> str:
    """A field's fault stands in the line that has its name, a list's entry where it begins, what is missing in the
    line of its group."""
    found = re.match(r"(?P<file>[^:]*site\.yaml): line (?P<line>\d+): (?P<path>[^:]+): (?P<what>.*)", text, re.DOTALL)
    if found is None or " " in found["path"]:
        assert not re.match(rf"{re.escape(str(site))}: [a-z_]+[.:]", text), f"a field without its line: {text}"
        return text
    line = site.read_text(encoding="utf-8", errors="replace").splitlines()[int(found["line"]) - 1]
    names = found["path"].split(".")
    if found["what"].startswith("is missing"):
        names.pop()
    if names[-1].isdigit():
        assert "- " in line or "{" in line, (line, text)
    else:
        assert re.search(rf"(^|[^\w.]){re.escape(names[-1])}[\"']?:", line), (line, text)
    return text.replace(f": line {found['line']}: ", ": ", 1)


def _yaml(old: str, new: str) -> Callable[[Path], None]:
    return lambda folder: change(folder, (old, new))


def _csv(old: str, new: str) -> Callable[[Path], None]:
    return lambda folder: change(folder, (old, new), file="profiles.csv")


def _write(name: str, text: str, *changes: tuple[str, str]) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        (folder / name).write_text(text, encoding="utf-8")
        change(folder, *changes)

    return write


def _write_bytes(path: Path, content: bytes) -> None:
    path.write_bytes(content)


def _by_time(rows: str) -> Callable[[Path], None]:
    """The load as a profile by time, from these rows."""
    line = "load: {type: day, file: profiles.csv, column: load_kw}"
    return _write("load.csv", f"time,kw\n{rows}", (line, "load: {type: time, file: load.csv, column: kw}"))


def _stays(rows: str) -> Callable[[Path], None]:
    """The second charger's stays from a file with these rows."""
    head = "charge_point,vehicle,arrival,departure,capacity_kwh,arrival_soc_frac,target_soc_frac\n"
    return lambda folder: _stays_file(folder, head + rows)


def _stays_file(folder: Path, text: str) -> None:
    (folder / "stays.csv").write_text(text, encoding="utf-8")
    path = folder / "site.yaml"
    before, rest = path.read_text(encoding="utf-8").split("    sessions:\n", 1)
    path.write_text(f"{before}    sessions: {{file: stays.csv, charge_point: A}}\n  bess:{rest.split('  bess:', 1)[1]}")


def _cables_file(text: str) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        (folder / "cables.csv").write_text(text, encoding="utf-8")
        path = folder / "site.yaml"
        before, rest = path.read_text(encoding="utf-8").split("  cables:", 1)
        path.write_text(f"{before}  cables: {{file: cables.csv}}\n\nprofiles:{rest.split('profiles:', 1)[1]}")

    return write


CET = "+01:00"
REST_OF_TYPE = "MB,EV2,NYY 4x35,10\nMB,BESS,NYY 4x35,10\n"
FAULTS: dict[str, tuple[Callable[[Path], None], list[str]]] = {
    # name: (what is done to the template, what the one fault's message holds)
    "unknown field": (
        _yaml("max_charge_kw: 22", "max_charge_kW: 22\n    max_charge_kw: 22"),
        ["site.yaml: devices.ev1.max_charge_kW:", "unknown field", "did you mean 'max_charge_kw'?", "22"],
    ),
    "unknown field in a part of a part": (
        _yaml("source: {type: clearsky, peak_kw: 60, tilt_deg: 20", "source: {type: clearsky, peak_kw: 60, tilt: 20"),
        ["site.yaml: devices.pv.source.tilt:", "unknown field; did you mean 'tilt_deg'?", "20"],
    ),
    "unknown section": (
        _yaml("connection: ", "conection: {}\nconnection: "),
        ["site.yaml: conection:", "did you mean 'connection'?"],
    ),
    "missing field": (_yaml("    rated_kva: 250\n", ""), ["site.yaml: network.transformer.rated_kva: is missing"]),
    "missing kind": (
        _yaml("    kind: bess\n", ""),
        ["site.yaml: devices.bess.kind: is missing", "'charger'", "'bess'", "'pv'", "'meter'"],
    ),
    "unknown kind": (
        _yaml("kind: bess", "kind: battery"),
        [
            "site.yaml: devices.bess.kind: is unknown; allowed are 'charger', 'bess', 'heatpump', 'pv', 'meter'",
            "battery",
        ],
    ),
    "unknown source": (
        _yaml("source: {type: clearsky", "source: {type: cloudy"),
        ["site.yaml: devices.pv.source.type: is unknown; allowed are 'power', 'clearsky', 'irradiance'", "'cloudy'"],
    ),
    "wrong type": (
        _yaml("initial_soc_frac: 0.5", "initial_soc_frac: half"),
        ["site.yaml: devices.bess.initial_soc_frac:", "valid number", "'half'"],
    ),
    "a number in quotes": (
        _yaml("rated_kw: 50", 'rated_kw: "50"'),
        ["site.yaml: devices.pv.rated_kw:", "valid number", "'50'"],
    ),
    "a truth for a number": (
        _yaml("rated_kw: 50", "rated_kw: true"),
        ["site.yaml: devices.pv.rated_kw:", "valid number", "True"],
    ),
    "a value for a group": (
        _yaml("  main_node: MB\n  transformer:\n", "  main_node: MB\n  transformer: big\n  was:\n"),
        ["site.yaml: network.transformer:", "should be a group of fields", "'big'"],
    ),
    "out of range": (
        _yaml("soc_max_frac: 0.9", "soc_max_frac: 90"),
        ["site.yaml: devices.ev1.daily.0.soc_max_frac:", "less than or equal to 1", "90"],
    ),
    "infinite": (
        _yaml("import_limit_kw: 100", "import_limit_kw: .inf"),
        ["site.yaml: connection.import_limit_kw:", "finite number", "inf"],
    ),
    "not a number": (
        _yaml("export_limit_kw: 60", "export_limit_kw: .nan"),
        ["site.yaml: connection.export_limit_kw:", "finite number", "nan"],
    ),
    "unknown profile": (
        _yaml("    profile: load\n", "    profile: laod\n"),
        ["site.yaml: devices.building.profile:", "no such profile; there are load, price", "'laod'"],
    ),
    "unknown profile of the tariff": (
        _yaml("sale: price", "sale: prices"),
        ["site.yaml: tariff.sale:", "no such profile", "'prices'"],
    ),
    "unknown node": (
        _yaml("node: BESS", "node: BES"),
        ["site.yaml: devices.bess.node:", "is not a node of the network", "PCC, MB, EV1", "'BES'"],
    ),
    "unknown device in a group": (
        _yaml("ems:\n", "ems:\n  cable_limits: [{devices: [ev1, ev3], limit_kw: 30}]\n"),
        ["site.yaml: ems.cable_limits.0.devices:", "no such device", "'ev3'"],
    ),
    "a case's inverter that is none": (
        _yaml(
            "ems:\n",
            "cases:\n  x:\n    tariff: {sale: price, spread_eur_per_kwh: 0.1}\n"
            "    pv: {bess: {type: power, profile: load}}\nems:\n",
        ),
        ["site.yaml: cases.x.pv.bess:", "is not a PV inverter", "'bess'"],
    ),
    "reserved identifier": (
        _yaml("  bess:\n    kind", "  recorder:\n    kind"),
        ["site.yaml: devices.recorder:", "reserved for the recorder service", "'recorder'"],
    ),
    "identifier with a capital": (
        _yaml("  building:\n", "  Building:\n"),
        ["site.yaml: devices.Building:", "small letters a-z, digits and hyphens, 31 at most", "'Building'"],
    ),
    "duplicate device": (
        _yaml("  ev2:  ", "  ev1:  "),
        ["site.yaml: line ", ", column 3: 'ev1' stands twice, first in line "],
    ),
    "syntax error": (
        _yaml("devices:  ", "devices: ]  "),
        ["site.yaml: line ", "column 10"],
    ),
    "tab for indentation": (
        _yaml("  latitude_deg", "\tlatitude_deg"),
        ["site.yaml: line ", "column 1", "'\\t'"],
    ),
    "a tag that would run code": (
        _yaml("description: My building", "description: !!python/object/apply:os.getcwd []"),
        ["site.yaml: line ", "column 14", "the tag 'tag:yaml.org,2002:python/object/apply:os.getcwd' is not allowed"],
    ),
    "bad time zone": (
        _yaml("time_zone: Europe/Rome", "time_zone: Europe/Turin"),
        ["site.yaml: location.time_zone:", "is not in the IANA time zone database", "'Europe/Turin'"],
    ),
    "a folder of time zones": (
        _yaml("time_zone: Europe/Rome", "time_zone: Europe"),
        ["site.yaml: location.time_zone:", "'Europe'"],
    ),
    "bad date": (_yaml("date: 2024-05-17", "date: 2024-02-30"), ["site.yaml: date:", "valid date", "2024-02-30"]),
    "time without zone": (
        _yaml("arrival: 2024-05-17T10:30:00+02:00", "arrival: 2024-05-17T10:30:00"),
        ["site.yaml: devices.ev2.sessions.0.arrival:", "'2024-05-17T10:30:00' is not a time with its zone"],
    ),
    "time that is none": (
        _yaml('departure: "18:00"', 'departure: "25:00"'),
        ["site.yaml: devices.ev1.daily.0.departure:", "'25:00'"],
    ),
    "departure at arrival": (
        _yaml('departure: "18:00"', "departure: 09:00"),
        ["site.yaml: devices.ev1.daily.0:", "departure 09:00:00 is the arrival"],
    ),
    "overlapping daily sessions": (
        _yaml(
            "      - vehicle: car1",
            "      - {vehicle: car0, arrival: 08:00, departure: 09:30, capacity_kwh: 60, arrival_soc_frac: 0.5, "
            "target_soc_frac: 0.7}\n      - vehicle: car1",
        ),
        ["site.yaml: devices.ev1:", "daily sessions overlap: car0 08:00:00 to 09:30:00 and car1 09:00:00 to 18:00:00"],
    ),
    "overlapping sessions in a file": (
        _stays(
            f"A,v1,2024-05-17T08:00:00{CET},2024-05-17T10:00:00{CET},40,0.4,0.8\n"
            f"A,v2,2024-05-17T09:59:59{CET},2024-05-17T12:00:00{CET},40,0.4,0.8\n"
        ),
        ["site.yaml: devices.ev2:", "sessions overlap: v2 arrives 2024-05-17 08:59:59+00:00 before v1 leaves"],
    ),
    "purchase and spread": (
        _yaml("spread_eur_per_kwh: 0.12", "spread_eur_per_kwh: 0.12\n  purchase: price"),
        ["site.yaml: tariff:", "exactly one of purchase, purchase_price and spread_eur_per_kwh"],
    ),
    "SOC bounds crossed": (
        _yaml("initial_soc_frac: 0.5", "initial_soc_frac: 0.95"),
        ["site.yaml: devices.bess:", "initial_soc_frac 0.95 is not between soc_min_frac 0.1 and soc_max_frac 0.9"],
    ),
    "node without a connection": (
        _yaml("from_node: MB, to_node: PV", "from_node: MC, to_node: PV"),
        [
            "site.yaml: network.cables.3: nodes without a connection to PCC: MC, PV; ",
            "connected are PCC, MB, EV1, EV2, BESS (received 'MC-PV')",
        ],
    ),
    "two PCC meters": (
        _yaml("    role: load\n", "    role: pcc\n  m2: {kind: meter, role: pcc}\n  m3:\n    kind: meter\n"),
        ["site.yaml: devices:", "more than one meter has the role pcc: building, m2"],
    ),
    "missing CSV file": (
        _yaml("price: {type: day, file: profiles.csv", "price: {type: day, file: prices.csv"),
        ["prices.csv: cannot be read: No such file or directory", "profiles.price of", "site.yaml"],
    ),
    "missing column": (
        _yaml("column: load_kw", "column: load_kwh"),
        ["site.yaml: profiles.load.column: profiles.csv has no such column; did you mean 'load_kw'?", "'load_kwh'"],
    ),
    "misspelled key of a profile": (
        _yaml("column: load_kw}", "col: load_kw, column: x}"),
        ["site.yaml: profiles.load.col:", "unknown field; did you mean 'column'?", "'load_kw'"],
    ),
    "profile of unknown type": (
        _yaml("load: {type: day", "load: {type: week"),
        ["site.yaml: profiles.load.type: is unknown; allowed are 'day', 'time'", "'week'"],
    ),
    "non-numeric cell": (
        _csv("00:30,8.00", '00:30,"8,00"'),
        ["profiles.csv: line 4, column load_kw: has a decimal comma; say decimal", "profiles.load", "'8,00'"],
    ),
    "empty cell": (_csv("00:30,8.00", "00:30,"), ["profiles.csv: line 4, column load_kw:", "''"]),
    "nan cell": (_csv("00:30,8.00", "00:30,NaN"), ["profiles.csv: line 4, column load_kw: is not a finite", "'NaN'"]),
    "infinite cell": (_csv("00:30,8.00", "00:30,1e999"), ["profiles.csv: line 4, column load_kw:", "'1e999'"]),
    "huge cell": (
        _csv("00:30,8.00", "00:30,1e8"),
        ["profiles.csv: line 4, column load_kw:", "less than or equal to 1000000", "100000000"],
    ),
    "row too short": (
        _csv("00:30,8.00,", "00:30,"),
        ["profiles.csv: line 4: has 2 cells where the header has 3"],
    ),
    "column twice": (
        _csv("price_eur_per_kwh\n", "load_kw\n"),
        ["profiles.csv: line 1: 2 columns have this name", "profiles.load of", "and 1 more", "'load_kw'"],
    ),
    "a row too few for a day": (
        _write("p.csv", "kw\n" + "1\n" * 95, ("file: profiles.csv, column: load_kw", "file: p.csv, column: kw")),
        ["site.yaml: profiles.load:", "95 values do not divide a day"],
    ),
    "six rows too few for a day": (
        _write("p.csv", "kw\n" + "1\n" * 90, ("file: profiles.csv, column: load_kw", "file: p.csv, column: kw")),
        ["site.yaml: profiles.load:", "90 values do not divide a day"],
    ),
    "empty CSV file": (
        _write("p.csv", "kw\n", ("file: profiles.csv, column: load_kw", "file: p.csv, column: kw")),
        ["p.csv: needs a header and one row at least"],
    ),
    "gap in times": (
        _by_time("2024-05-17T00:00Z,1\n2024-05-17T00:15Z,1\n2024-05-17T00:45Z,1\n2024-05-17T01:00Z,1\n"),
        ["load.csv: line 4, column time: follows 2024-05-17T00:15Z by 1800 s where the step is 900 s", "T00:45Z"],
    ),
    "unsorted times": (
        _by_time("2024-05-17T00:00Z,1\n2024-05-17T00:15Z,1\n2024-05-17T00:15Z,1\n"),
        ["load.csv: line 4, column time: is not after 2024-05-17T00:15Z"],
    ),
    "local times in a profile": (
        _by_time("2024-05-17T00:00Z,1\n2024-05-17 00:15,1\n2024-05-17T00:30Z,1\n"),
        ["load.csv: line 3, column time: is not a time with its zone", "'2024-05-17 00:15'"],
    ),
    "one time only": (_by_time("2024-05-17T00:00Z,1\n"), ["load.csv: column time needs two times at least"]),
    "bad cell of a session": (
        _stays(f"A,v1,2024-05-17T08:00:00{CET},2024-05-17T10:00:00{CET},40,forty,0.8\n"),
        ["stays.csv: line 2, column arrival_soc_frac: is not a finite number", "devices.ev2.sessions", "'forty'"],
    ),
    "session out of range": (
        _stays(f"B,v0,x,y,40,0.4,0.8\nA,v1,2024-05-17T08:00:00{CET},2024-05-17T10:00:00{CET},40,0.4,1.8\n"),
        ["stays.csv: line 3, column target_soc_frac:", "less than or equal to 1", "1.8"],
    ),
    "no session of this charge point": (
        _stays("B,v0,x,y,40,0.4,0.8\n"),
        ["site.yaml: devices.ev2.sessions.charge_point: no row of stays.csv has this", "there are B", "'A'"],
    ),
    "unknown column of sessions": (
        lambda folder: _stays_file(
            folder,
            "charge_point,vehicle,arrival,departure,capacity_kwh,arrival_soc_frac,"
            "target_soc_frac,soc_max\nA,v,x,y,40,0.4,0.8,1\n",
        ),
        ["stays.csv: line 1: unknown column; did you mean 'soc_max_frac'?", "soc_max"],
    ),
    "missing column of cables": (
        _cables_file("from_node,to_node,r_mohm,x_mohm\nMB,EV1,30,1\n"),
        ["cables.csv: line 1: column ampacity_a is missing; the header has from_node, to_node, r_mohm, x_mohm [for"],
    ),
    "bad cable": (
        _cables_file(
            "from_node,to_node,r_mohm,x_mohm,ampacity_a\nMB,EV1,-30,1,75\nMB,PV,14,4,298\nMB,EV2,9,1,75\nMB,BESS,9,1,75\n"
        ),
        ["cables.csv: line 2, column r_mohm:", "greater than 0", "-30"],
    ),
    "unknown type of cable": (
        _yaml("type: NYY-J 5x10 RE, length_m: 14", "type: NYY-J 5x12 RE, length_m: 14"),
        [
            "site.yaml: network.cables.0.type: is no known type; did you mean 'NYY 5x1",
            "there are NYY, NAYY, N2XY, NA2XY with 4 or 5 equal cores; or give material and mm2",
            "'NYY-J 5x12 RE'",
        ],
    ),
    "cable of a cross-section that there is not": (
        _yaml("mm2: 25,", "mm2: 26,"),
        ["site.yaml: network.cables.2.mm2: is no standard cross-section of copper; there are 1.5, 2.5, 4,", "26"],
    ),
    "cable of a metal that conducts nothing": (
        _yaml("material: copper", "material: cooper"),
        ["site.yaml: network.cables.2.material:", "'copper' or 'aluminium'", "'cooper'"],
    ),
    "cable by type and by cross-section": (
        _yaml("type: NYY-J 5x10 RE, length_m: 14", "type: NYY-J 5x10 RE, mm2: 10, length_m: 14"),
        [
            "site.yaml: network.cables.0: says in more than one way what the cable is: type, mm2",
            "one of these is wanted: r_mohm and x_mohm, or type, or material and mm2",
        ],
    ),
    "cable by type and with an impedance": (
        _yaml("length_m: 18", "length_m: 18, r_mohm: 30"),
        ["site.yaml: network.cables.1: says in more than one way what the cable is: r_mohm, type"],
    ),
    "cable of nothing": (
        _yaml("type: NYY-J 5x10 RE, length_m: 14", "length_m: 14"),
        ["site.yaml: network.cables.0: says not what it is", "r_mohm and x_mohm, or type, or material and mm2"],
    ),
    "cable without length": (
        _yaml("type: NYY-J 5x10 RE, length_m: 14", "type: NYY-J 5x10 RE"),
        ["site.yaml: network.cables.0.length_m: is missing"],
    ),
    "misspelled field of a cable": (
        _yaml("insulation: xlpe", "isolation: xlpe"),
        ["site.yaml: network.cables.2.isolation: unknown field; did you mean 'insulation'?", "'xlpe'"],
    ),
    "hotter than PVC bears": (
        _yaml("length_m: 14}", "length_m: 14, conductor_temp_c: 80}"),
        ["site.yaml: network.cables.0.conductor_temp_c: is above 70 °C, which is what pvc insulation bears", "80"],
    ),
    "faulty cable at a node without a connection": (
        _yaml("{from_node: MB, to_node: EV1, type: NYY-J 5x10 RE", "{to_node: EV1, type: NYY-J 5x10 RE"),
        ["site.yaml: network.cables.0.from_node: is missing"],
    ),
    "table of cables that says not what they are": (
        _cables_file("from_node,to_node,tpye,length_m\nMB,EV1,NYY 4x35,10\n"),
        [
            "cables.csv: line 1: has no columns r_mohm and x_mohm, or type, or material and mm2; did you mean 'type'?",
            "network.cables",
        ],
    ),
    "unknown type in a table of cables": (
        _cables_file("from_node,to_node,type,length_m\nMB,EV1,NAY 4x150,10\nMB,PV,NAYY 4x150,10\n" + REST_OF_TYPE),
        ["cables.csv: line 2, column type: is no known type; did you mean 'NAYY 4x150'?", "'NAY 4x150'"],
    ),
    "half a cable in a table of cables": (
        _cables_file(
            "from_node,to_node,type,length_m,parallel\nMB,EV1,NYY 4x35,10,1.5\nMB,PV,NAYY 4x150,10,1\n"
            "MB,EV2,NYY 4x35,10,1\nMB,BESS,NYY 4x35,10,1\n"
        ),
        ["cables.csv: line 2, column parallel:", "valid integer", "1.5"],
    ),
    "transformer with equal ends": (
        _yaml("    from_node: PCC\n    to_node: MB\n", "    from_node: MB\n    to_node: MB\n"),
        ["site.yaml: network.transformer.to_node: is its from_node as well", "stands between two nodes", "'MB'"],
    ),
    "cable from a node to itself": (
        _yaml("  cables:  ", "  cables:\n    - {from_node: MB, to_node: MB, type: NYY 4x35, length_m: 3}\n    #  "),
        ["site.yaml: network.cables.0: begins and ends at one node; a cable joins two", "'MB'"],
    ),
    "cable around the transformer": (
        _yaml("  cables:  ", "  cables:\n    - {from_node: PCC, to_node: PV, type: NYY 4x35, length_m: 3}\n    #  "),
        [
            "site.yaml: network.cables: cables join both sides of the transformer, PCC and MB",
            "each is to stay on one side",
            "'PCC-PV, MB-PV'",
        ],
    ),
    "two cables of one name": (
        _yaml(
            "  cables:  ",
            "  cables:\n    - {from_node: MB, to_node: EV1-x, type: NYY 4x35, length_m: 3}\n"
            "    - {from_node: MB-EV1, to_node: x, type: NYY 4x35, length_m: 3}\n"
            "    - {from_node: MB, to_node: x, type: NYY 4x35, length_m: 3}\n    #  ",
        ),
        ["site.yaml: network.cables.1: has the name of the cable from MB to EV1-x", "names of nodes", "'MB-EV1-x'"],
    ),
    "main node that there is not": (
        _yaml("main_node: MB", "main_node: MBB"),
        ["site.yaml: network.main_node: is not a node of the network; nodes are PCC, MB, EV1", "'MBB'"],
    ),
    "cable in a file from a node to itself": (
        _cables_file(
            f"from_node,to_node,type,length_m\nMB,EV1,NYY 4x35,10\nMB,PV,NYY 4x35,10\n{REST_OF_TYPE}PV,PV,NYY 4x35,1\n"
        ),
        ["cables.csv: line 6: begins and ends at one node", "[for network.cables of", "'PV'"],
    ),
    "contains itself": (
        _yaml("description: My building", "description: &a [*a]"),
        ["site.yaml: line 9, column 14", "recursive"],
    ),
    "nested deeply": (
        _yaml("description: My building", f"description: {'[' * 5000}"),
        ["site.yaml: line 9, column 77: is nested too deeply; 64 groups and lists"],
    ),
    "a number of 5000 digits": (
        _yaml("rated_kw: 50 ", f"rated_kw: {'5' * 5000} "),
        ["site.yaml: line ", "column 15", "a number of 5000 digits"],
    ),
    "not a group": (_write("site.yaml", "- 1\n"), ["site.yaml: should be a group of fields"]),
    "empty file": (_write("site.yaml", ""), ["site.yaml: should be a group of fields"]),
    "not UTF-8": (
        lambda folder: _write_bytes(folder / "site.yaml", b"site: caf\xe9\n"),
        ["site.yaml: line 1: is not UTF-8 text: byte 0xE9 at byte 9; save it as UTF-8"],
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_named_with_file_field_and_value(name: str, folder: Path) -> None:
    spoil, expected = FAULTS[name]
    spoil(folder)
    found = messages(folder)
    matching = [text for text in found if all(part in text for part in expected)]
    assert len(matching) == 1, found
    if name != "a value for a group":  # The spoilt text holds an unknown field as well.
        assert found == matching


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("unknown field", "unknown"),
        ("missing field", "missing"),
        ("missing kind", "missing"),
        ("unknown kind", "unknown"),
        ("out of range", "range"),
        ("infinite", "range"),
        ("wrong type", "invalid"),
        ("unknown profile", "unknown"),
        ("reserved identifier", "reserved"),
        ("duplicate device", "duplicate"),
        ("two PCC meters", "duplicate"),
        ("syntax error", "format"),
        ("missing CSV file", "not-found"),
        ("missing column", "unknown"),
        ("non-numeric cell", "format"),
        ("huge cell", "range"),
        ("departure at arrival", "conflict"),
        ("missing column of cables", "missing"),
        ("empty CSV file", "empty"),
    ],
)
def test_a_fault_has_its_code(name: str, code: str, folder: Path) -> None:
    FAULTS[name][0](folder)
    with pytest.raises(InputError) as caught:
        load_site(folder / "site.yaml")
    assert caught.value.codes == (code,)


def test_five_faults_are_all_reported_together(folder: Path) -> None:
    change(
        folder,
        ("max_charge_kw: 22", "max_chrge_kw: 22"),  # unknown, hence another one missing
        ("latitude_deg: 45.07", "latitude_deg: 145.07"),
        ("node: BESS", "node: NOWHERE"),
        ("sale: price", "sale: prize"),
    )
    change(folder, ("00:15,8.00", "00:15,eight"), ("00:45,8.00", "00:45,-"), file="profiles.csv")
    found = messages(folder)
    expected = [
        ["profiles.csv: line 3, column load_kw", "'eight'"],
        ["profiles.csv: line 5, column load_kw", "'-'"],
        ["site.yaml: devices.ev1.max_chrge_kw", "did you mean 'max_charge_kw'?"],
        ["site.yaml: devices.ev1.max_charge_kw: is missing"],
        ["site.yaml: location.latitude_deg", "145.07"],
        ["site.yaml: devices.bess.node", "'NOWHERE'"],
        ["site.yaml: tariff.sale", "'prize'"],
    ]
    assert len(found) == len(expected)
    for parts in expected:
        assert [text for text in found if all(part in text for part in parts)], (parts, found)


def test_a_broken_file_of_cables_hides_no_other_fault_and_invents_none(folder: Path) -> None:
    rest = "MB,EV2,9,1,75\nMB,BESS,9,1,75\nMB,PV,9,1,75\n"
    _cables_file(f"from_node,to_node,r_mohm,x_mohm,ampacity_a\nMB,EV1,x,1,75\n{rest}")(folder)
    change(folder, ("sale: price", "sale: prize"))
    found = messages(folder)
    assert len(found) == 2
    assert "cables.csv: line 2, column r_mohm" in found[0]
    assert "tariff.sale" in found[1]


def test_faults_of_the_network_are_told_together_whatever_else_is_wrong_with_it(folder: Path) -> None:
    change(
        folder,
        ("type: NYY-J 5x10 RE, length_m: 14", "type: NYX 5x10, length_m: 14"),
        ("node: BESS", "node: NOWHERE"),
        ("from_node: MB, to_node: PV", "from_node: MC, to_node: PV"),
        ("main_node: MB", "main_node: MBB"),
        ("rated_kva: 250", "rated_kva: -250"),
        ("max_charge_kw: 11", "max_chrge_kw: 11"),
        ("node: EV2", "node: EV3"),
        (
            "  cables:  ",
            "  cables:\n    - {from_node: EV2, to_node: EV2, r_mohm: 1, x_mohm: 1, ampacity_a: -9}\n    #  ",
        ),
    )
    found = messages(folder)
    expected = [
        ["site.yaml: network.cables.1.type: is no known type", "'NYX 5x10'"],
        ["site.yaml: network.cables.0.ampacity_a:", "-9"],
        ["site.yaml: network.cables.0: begins and ends at one node", "'EV2'"],
        ["site.yaml: network.cables.4: nodes without a connection to PCC: MC, PV; connected are PCC, MB,", "'MC-PV'"],
        ["site.yaml: network.main_node: is not a node of the network; nodes are PCC, MB,", "'MBB'"],
        ["site.yaml: network.transformer.rated_kva:", "-250"],
        ["site.yaml: devices.ev2.max_chrge_kw:", "unknown field"],
        ["site.yaml: devices.ev2.max_charge_kw: is missing"],
        ["site.yaml: devices.ev2.node: is not a node of the network; nodes are PCC, MB,", "'EV3'"],
        ["site.yaml: devices.bess.node: is not a node of the network; nodes are PCC, MB,", "'NOWHERE'"],
    ]
    assert len(found) == len(expected), found
    for parts in expected:
        assert [text for text in found if all(part in text for part in parts)], (parts, found)


def test_faults_of_a_file_of_cables_are_told_together_with_those_of_its_nodes(folder: Path) -> None:
    _cables_file(
        "from_node,to_node,type,length_m\nMB,EV1,NYX 4x35,10\nMB,EV2,NYY 4x35,ten\nMC,PV,NYY 4x35,10\n"
        "EV1,EV1,NYY 4x35,10\nPCC,EV1,NYY 4x35,10\nPCC,MB,NYY 4x35,10\n"
    )(folder)
    found = messages(folder)
    expected = [
        ["cables.csv: line 2, column type: is no known type", "'NYX 4x35'"],
        ["cables.csv: line 3, column length_m: is not a finite number", "'ten'"],
        ["cables.csv: line 4: nodes without a connection to PCC: MC, PV", "'MC-PV'"],
        ["cables.csv: line 5: begins and ends at one node", "'EV1'"],
        ["site.yaml: network.cables: cables join both sides of the transformer, PCC and MB", "'PCC-EV1, MB-EV1'"],
        ["cables.csv: line 7: cables join both sides of the transformer, PCC and MB", "'PCC-MB'"],
        ["site.yaml: devices.bess.node: is not a node of the network", "'BESS'"],
    ]
    assert len(found) == len(expected), found
    for parts in expected:
        assert [text for text in found if all(part in text for part in parts)], (parts, found)


def test_an_end_that_is_missing_invents_no_island(folder: Path) -> None:
    change(
        folder,
        ("{from_node: MB, to_node: EV1, type", "{to_node: EV1, type"),
        ("from_node: MB, to_node: PV", "from_node: EV1, to_node: PV"),
    )
    (fault,) = messages(folder)
    assert "network.cables.0.from_node: is missing" in fault


def test_blanks_around_the_names_in_a_file_are_none_of_the_names(folder: Path) -> None:
    rest = "MB,EV2,NYY 4x35,10\nMB,BESS,NYY 4x35,10\nMB,PV,NYY 4x35,10\n"
    _cables_file(f"from_node,to_node,type,length_m\n MB , EV1, NYY 4x35 ,10\n{rest}")(folder)
    assert load_site(folder).network.nodes == ("PCC", "MB", "EV1", "EV2", "BESS", "PV")


def test_faulty_cables_are_told_together_and_hide_nothing_else(folder: Path) -> None:
    change(
        folder,
        ("type: NYY-J 5x10 RE, length_m: 14", "type: NYX 5x10, length_m: 14"),
        ("mm2: 25,", "mm2: 24,"),
        ("node: EV2", "node: EV3"),
    )
    found = messages(folder)
    places = ["network.cables.0.type", "network.cables.2.mm2", "devices.ev2.node"]
    assert len(found) == len(places)
    assert all(place in text for place, text in zip(places, found, strict=True))


def test_equal_bad_cells_are_one_fault_with_its_count(folder: Path) -> None:
    _write("p.csv", "kw\n" + "x\n" * 1440, ("file: profiles.csv, column: load_kw", "file: p.csv, column: kw"))(folder)
    (fault,) = messages(folder)
    assert "p.csv: line 2, column kw: is not a finite number [and 1439 more cells of this column]" in fault
    assert fault.endswith("(received 'x')")


def test_a_thousand_different_bad_cells_are_ten_faults_and_a_count(folder: Path) -> None:
    cells = "".join(f"x{row}\n" for row in range(1440))
    _write("p.csv", f"kw\n{cells}", ("file: profiles.csv, column: load_kw", "file: p.csv, column: kw"))(folder)
    found = messages(folder)
    assert len(found) == 11
    assert "p.csv: line 11, column kw:" in found[9]
    assert "and 1430 more such faults" in found[-1]


def test_gzipped_profile_is_read_and_a_false_one_refused(folder: Path) -> None:
    change(folder, ("price: {type: day, file: profiles.csv", "price: {type: day, file: profiles.csv.gz"))
    text = (folder / "profiles.csv").read_bytes()
    (folder / "profiles.csv.gz").write_bytes(gzip.compress(text))
    assert load_site(folder).profiles["price"].values[0] > 0
    (folder / "profiles.csv.gz").write_bytes(text)
    assert "profiles.csv.gz: is not a gzip file" in messages(folder)[0]


def test_missing_site_names_what_is_in_the_box(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no such file; sites in the box are carpark, carpark_year, fit_g2v"):
        load_site(tmp_path / "none.yaml")
    with pytest.raises(InputError, match="no_such_site"):
        load_site("no_such_site")


def test_faults_of_a_json_site_name_line_and_field(tmp_path: Path) -> None:
    file = tmp_path / "site.json"
    file.write_text('{"site": "a",\n "site" "b"}', encoding="utf-8")
    with pytest.raises(InputError, match=r"site\.json: line 2, column 9"):
        load_site(file)
    file.write_text('{"site": "a", "site": "b"}', encoding="utf-8")
    with pytest.raises(InputError, match="'site' stands twice"):
        load_site(file)
    text = load_site("fit_g2v").model_dump_json().replace('"rated_kw":99.3', '"rated_kw":-1')
    file.write_text(text, encoding="utf-8")
    with pytest.raises(InputError) as caught:
        load_site(file)
    (fault,) = caught.value.faults
    assert (fault.where, fault.received) == (f"{file}: devices.pv.rated_kw", "-1")


def test_times_of_the_day_are_never_read_as_numbers_of_base_60(folder: Path) -> None:
    change(folder, ('arrival: "09:00"', "arrival: 09:00"), ('departure: "18:00"', "departure: 18:00"))
    assert load_site(folder).devices == load_site(Path(__file__).parents[2] / "sites/data/init_template").devices


def test_exponents_need_no_decimal_point(folder: Path) -> None:
    change(folder, ("ems:\n", "ems:\n  tie_flat_eur_per_kwh: 2e-5\n"))
    assert load_site(folder).ems.tie_flat_eur_per_kwh == 2e-5
