"""Who may import whom: read from the source of every module, lazy and relative imports included."""

import ast
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from twinswarm.deploy import logs

ROOT = Path(__file__).parents[1]
OURS = ("schemas", "broker", "runtime", "twin_devices", "services", "sites", "twinswarm")
EVERYTHING_ELSE = "*"

# Part of the code -> what it may import besides the standard library and itself. The longest name that fits rules.
# Names of ours are prefixes; of other packages it is the top name. "*" stands for any package that is not ours.
RULES: dict[str, set[str]] = {
    "schemas": {"pydantic", "pydantic_core"},
    "sites": {"schemas", "pydantic", "pydantic_core", "ruamel", "holidays"},
    "broker": {"schemas", EVERYTHING_ELSE},
    "runtime": {"schemas", "broker.transport", EVERYTHING_ELSE},
    "twin_devices.physics": {EVERYTHING_ELSE},
    "twin_devices": {"schemas", EVERYTHING_ELSE},
    # The clock is no participant: it owns the time and sits at the bus itself, by the transport's protocol.
    "services.clock": {"schemas", "broker.transport", "runtime.life", "runtime.steady_clock", EVERYTHING_ELSE},
    "services.forecast": {"schemas", EVERYTHING_ELSE},
    "services.drivers": {
        "schemas",
        "broker.transport",
        "services.ocpp",
        "services.sunspec",
        "twin_devices.discharge_caps",
        "twin_devices.phase_switcher",
        "twin_devices.setpoints",
        EVERYTHING_ELSE,
    },
    # What a device's protocol says, for who reads it and for who serves it.
    "services.ocpp": set(),
    "services.sunspec": {"schemas"},
    "services.outward": {"schemas", "services.ocpp", "services.sunspec", "twin_devices.base", EVERYTHING_ELSE},
    "services.openadr": {"schemas", EVERYTHING_ELSE},
    "services.feeds": {"schemas", "services.forecast", "services.openadr", EVERYTHING_ELSE},
    "services.limiter": {"schemas", "broker.transport", "services.drivers", "services.openadr", EVERYTHING_ELSE},
    # It runs a twin beside the real device, and values what it finds by the prices that were announced.
    "services.shadow": {"schemas", "services.history", "twin_devices", EVERYTHING_ELSE},
    # They live beside the real site's meter; their own site is composed where every site is.
    "services.ghosts": {
        "schemas",
        "services.analysis.quarters",
        "services.history",
        "twin_devices.base",
        "twin_devices.setpoints",
        EVERYTHING_ELSE,
    },
    "services.ems": {"schemas", EVERYTHING_ELSE},
    "services.history": {"schemas", EVERYTHING_ELSE},
    "services.influx": {"schemas", "services.history", EVERYTHING_ELSE},
    "services.recorder": {"schemas", "services.history", EVERYTHING_ELSE},
    "services.analysis": {"schemas", "services.history", EVERYTHING_ELSE},
    "services.conformance": {"schemas", "broker.transport", EVERYTHING_ELSE},
    "services.homeassistant": {"schemas", "broker.transport", "runtime.life", EVERYTHING_ELSE},
    "services.monitor": {"schemas", "broker.transport", "services.history", EVERYTHING_ELSE},
    "services.dashboards": {"schemas", EVERYTHING_ELSE},
    "services": set(),
    # The front door composes everything; what runs a site in memory needs neither a process nor a screen.
    "twinswarm.simulation": {"schemas", "sites", "runtime", "twin_devices", "services", EVERYTHING_ELSE},
    "twinswarm.deploy": {
        "schemas",
        "sites",
        "broker",
        "runtime",
        "twin_devices",
        "services",
        "twinswarm.extras",
        "twinswarm.simulation",
        EVERYTHING_ELSE,
    },
    # A study composes whole days and settles them as the analysis does; what the recorder would have read back, it
    # takes from memory, so it needs the history's tracks, but no history.
    "twinswarm.study": {
        "schemas",
        "sites.description",
        "services.analysis",
        "services.history",
        "twinswarm.simulation",
        EVERYTHING_ELSE,
    },
    "twinswarm.imports": {
        "schemas",
        "sites",
        "services.analysis",
        "services.feeds",
        "twinswarm.simulation",
        EVERYTHING_ELSE,
    },
    "twinswarm": {"schemas", "sites", "broker", "runtime", "twin_devices", "services", EVERYTHING_ELSE},
}

# Package -> the only parts of the code that may import it.
AT_HOME: dict[str, set[str]] = {
    "linopy": {"services.ems"},
    "highspy": {"services.ems"},
    "paho": {"broker.mqtt"},
    "amqtt": {"broker.servers"},
    "gymnasium": {"twinswarm.league", "twinswarm.gym"},
    "influxdb_client": {"services.influx.server"},
    "entsoe": {"services.feeds.entsoe"},
    "jmespath": {"services.feeds.requests", "services.drivers.mqtt_link"},
    "ocpp": {"services.drivers.ocpp", "services.outward.ocpp"},
    "s2python": {"services.drivers.s2"},
    "websockets": {"services.drivers.ocpp", "services.drivers.s2", "services.outward.ocpp"},
    "openadr3": {"services.openadr"},
    "httpx": {"services.openadr.client"},
    "pymodbus": {"services.drivers", "services.outward"},
    "urllib3": {"services.feeds.fetch", "services.influx.server"},
    "power_grid_model": {"twin_devices"},
    "pvlib": {"twin_devices.physics", "services.forecast", "twinswarm.imports.shapes"},
    "python_calamine": {"twinswarm.imports.sheet"},
    "oemof": {"twinswarm.imports.standard_profile"},
    "defusedxml": {"twinswarm.imports.shapes"},
    "ruamel": {"sites.loader.text", "sites.loader.editing"},
    "holidays": {"sites.loader.holiday_dates"},
    "cryptography": {"broker.provision"},
    "grafana_foundation_sdk": {"services.dashboards.source"},
}

# Module of a process that must stay small -> what running it must not load.
LIGHT: dict[str, set[str]] = {
    "twin_devices.charger": {"numpy", "pandas", "xarray", "highspy", "scipy", "matplotlib", "pvlib"},
    "twin_devices.bess": {"numpy", "pandas", "xarray", "highspy", "scipy", "matplotlib", "pvlib"},
    "twin_devices.meter": {"numpy", "pandas", "xarray", "highspy", "scipy", "matplotlib", "pvlib"},
    "services.shadow.participant": {"numpy", "pandas", "xarray", "highspy", "scipy", "matplotlib", "pvlib"},
    "schemas.site": {"numpy", "pandas", "ruamel"},
    "services.forecast": {"numpy", "pandas", "pvlib"},
    "twinswarm": {"numpy", "pydantic", "paho", "typer", "rich", "schemas", "services"},
    "twinswarm.pytest_plugin": {"numpy", "pydantic", "paho", "typer", "schemas", "services"},
}


def modules() -> Iterator[tuple[str, Path]]:
    """Names and files of all modules of the product."""
    for package in OURS:
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


def imports(module: str, path: Path) -> Iterator[tuple[int, str]]:
    """(line, full name) of everything that a module imports, wherever in it the import stands."""
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            source = ".".join([*above, *([node.module] if node.module else [])])
            # "from services import ems" imports services.ems.
            for alias in node.names:
                yield node.lineno, f"{source}.{alias.name}"
        elif (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute | ast.Name)
            and (node.func.attr if isinstance(node.func, ast.Attribute) else node.func.id)
            in {"import_module", "__import__"}
            and node.args
            and isinstance(node.args[0], ast.Constant)
        ):
            yield node.lineno, str(node.args[0].value)


def within(name: str, part: str) -> bool:
    return name == part or name.startswith(f"{part}.")


def rule_for(module: str) -> str:
    return max((part for part in RULES if within(module, part)), key=len)


def is_allowed(module: str, imported: str) -> bool:
    part, top = rule_for(module), imported.partition(".")[0]
    if top in sys.stdlib_module_names or within(imported, part):
        # A part may hold a smaller one with a rule of its own; that one may not reach out into the larger.
        return True
    if top in OURS:
        return any(within(imported, allowed) for allowed in RULES[part])
    homes = AT_HOME.get(top)
    if homes is not None and not any(within(module, home) for home in homes):
        return False
    return EVERYTHING_ELSE in RULES[part] or top in RULES[part]


def test_every_module_imports_only_what_its_part_may() -> None:
    wrong = [
        f"{path.relative_to(ROOT)}:{line}: {module} imports {imported}"
        for module, path in modules()
        for line, imported in imports(module, path)
        if not is_allowed(module, imported)
    ]
    assert wrong == []


@pytest.mark.parametrize(
    ("module", "imported", "allowed"),
    [
        ("schemas.wire", "pydantic.BaseModel", True),
        ("schemas.wire", "numpy", False),
        ("schemas.wire", "sites.loader", False),
        ("broker.mqtt", "paho.mqtt.client", True),
        ("runtime.lockstep", "paho.mqtt.client", False),
        ("runtime.lockstep", "services.ems", False),
        ("twin_devices.physics.battery", "schemas.units", False),
        ("twin_devices.physics.pv", "twin_devices.charger", False),
        ("twin_devices.charger", "twin_devices.physics.battery", True),
        ("twin_devices.charger", "broker.transport", False),
        ("services.ems.solve", "highspy", True),
        ("services.analysis.report", "highspy", False),
        ("services.ems.compile", "services.history.store", False),
        ("services.analysis.report", "services.history.store", True),
        ("services.analysis.report", "twinswarm.simulation.compose", False),
        ("services.forecast.forecast", "twin_devices.pv", False),
        ("twinswarm.simulation.compose", "twin_devices.pv", True),
        ("twinswarm.simulation.compose", "sites.loader", True),
        ("services.clock.refusal", "broker.transport.Transport", True),
        ("services.clock.refusal", "broker.mqtt", False),
        ("services.ems.participant", "broker.transport", False),
        ("twinswarm.study.day", "twinswarm.simulation.in_memory", True),
        ("services.influx.server", "influxdb_client", True),
        ("services.influx.forward", "influxdb_client", False),
        ("twinswarm.study.day", "services.ems.solve", False),
    ],
)
def test_the_rules_say_what_the_design_says(module: str, imported: str, allowed: bool) -> None:
    assert is_allowed(module, imported) == allowed


def test_imports_are_found_wherever_they_stand(tmp_path: Path) -> None:
    path = tmp_path / "x.py"
    path.write_text(
        "import a.b\nfrom . import c\nfrom ..d import e\n"
        "def f():\n    from g import h\n    import importlib\n    importlib.import_module('i')\n"
    )
    found = {name for _, name in imports("services.ems.x", path)}
    assert found == {"a.b", "services.ems.c", "services.d.e", "g.h", "importlib", "i"}


@pytest.mark.parametrize("module", LIGHT)
def test_light_processes_load_nothing_heavy(module: str) -> None:
    if not any(name == module for name, _ in modules()):
        pytest.fail(f"{module} is not there; the table LIGHT names it")
    code = f"import sys, {module}; print(*sorted(set(sys.modules) & set(sys.argv[1:])))"
    command = [sys.executable, "-c", code, *sorted(LIGHT[module])]
    loaded = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    assert loaded == []


def room_of(module: str) -> str:
    """A folder at the top, or one below ``services`` and ``twinswarm``."""
    parts = module.split(".")
    return ".".join(parts[: 2 if parts[0] in {"services", "twinswarm"} else 1])


def test_rooms_import_one_another_in_no_circle() -> None:
    edges = {
        (room_of(module), room_of(imported))
        for module, path in modules()
        for _, imported in imports(module, path)
        if imported.partition(".")[0] in OURS
    }
    order = TopologicalSorter[str]()
    for room, imported in sorted(edges):
        if room != imported:
            order.add(room, imported)
    order.prepare()  # raises CycleError, which names the circle


def test_no_room_holds_more_than_12_percent_of_the_product() -> None:
    """Counted are lines of code with their docstrings. The EMS' terms and the parts of a site are rooms of their own,
    a file each."""
    apart = ("services.ems.terms", "schemas.site")
    lines = Counter[str]()
    for module, path in modules():
        room = next((name for name in apart if within(module, name)), room_of(module))
        lines[room] += len(path.read_text(encoding="utf-8").splitlines())
    shares = {room: count / lines.total() for room, count in lines.items()}
    assert {room: f"{share:.1%}" for room, share in shares.items() if share > 0.12} == {}


def test_the_log_knows_all_packages() -> None:
    """A package that it does not name would log warnings only; `savings --follow` once said nothing for that reason."""
    assert sorted(logs.OURS) == sorted(OURS)
