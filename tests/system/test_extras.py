"""What an environment has without extras: enough for a twin; a command that needs more says which extra."""

import json
import os
import subprocess
import venv
from pathlib import Path

import pytest

from broker.address import BrokerAddress
from broker.mqtt import MqttTransport
from broker.servers.embedded import EmbeddedBroker
from schemas.errors import Code
from schemas.topics import Channel, topic_filter
from twinswarm.extras import missing_extra

ROOT = Path(__file__).parents[2]
BASE = ("paho-mqtt", "pydantic", "rich", "ruamel.yaml", "typer", "tzdata")
HEAVY = (
    "numpy",
    "pandas",
    "highspy",
    "linopy",
    "matplotlib",
    "amqtt",
    "cryptography",
    "influxdb_client",
    "power_grid_model",
)


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An interpreter with the base installation alone, by pip, from the libraries' registry."""
    folder = tmp_path_factory.mktemp("base")
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [str(python), "-m", "pip", "install", "-q", "-c", str(ROOT / "constraints.txt"), str(ROOT)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stderr
    return python


def _call(python: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [str(python), "-P", "-m", "twinswarm.cli", *words]
    return subprocess.run(command, cwd=python.parent, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.slow
def test_a_charger_runs_in_the_base_installation(python: Path) -> None:
    search = f"import importlib.util as u; print([n for n in {HEAVY} if u.find_spec(n)])"
    found = subprocess.run([str(python), "-c", search], capture_output=True, text=True, check=True, cwd=python.parent)
    assert found.stdout.strip() == "[]"
    with EmbeddedBroker() as broker:
        address: BrokerAddress = broker.address
        observer = MqttTransport(address, "observer")
        observer.connect([topic_filter("fit-g2v", device="ev1", channel=Channel.BIRTH)])
        command = [str(python), "-P", "-m", "twinswarm.cli", "twin", "ev1", "--broker", str(address)]
        twin = subprocess.Popen(command, cwd=python.parent, stderr=subprocess.PIPE, text=True)
        try:
            delivery = observer.receive(20.0)
            assert delivery is not None, twin.communicate(timeout=5)
            assert json.loads(delivery.payload)["nameplate"]["type"] == "charger"
        finally:
            observer.close()
            twin.terminate()
            twin.communicate(timeout=10)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "extra"),
    [
        (("run", "--for", "15min", "--no-report"), "ems"),
        (("run", "--for", "15min"), "plots"),
        (("up", "--for", "15min", "--no-report"), "broker"),
        (("ems", "--broker", "mqtt://127.0.0.1:1"), "ems"),
        (("network", "--broker", "mqtt://127.0.0.1:1"), "network"),
        (("compose", "fit_g2v"), "provision"),
        (("study", "--cases", "6", "--no-robustness"), "ems"),
    ],
    ids=["run", "report", "up", "ems", "network", "compose", "study"],
)
def test_a_command_that_needs_an_extra_says_which(words: tuple[str, ...], extra: str, python: Path) -> None:
    done = _call(python, *words)
    assert done.returncode == 2, done.stderr
    assert f"pip install 'twinswarm[{extra}]'" in done.stderr
    assert f"[{Code.NOT_INSTALLED}]" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_module_of_nobody_is_no_extra() -> None:
    assert missing_extra(ModuleNotFoundError(name="my_own_module")) is None
    assert missing_extra(ModuleNotFoundError(name="numpy")) is not None


IMPORTED_AS = {"oemof_demand": "oemof", "pysunspec2": "sunspec2", "s2_python": "s2python"}


def test_every_library_is_in_the_base_or_in_an_extra_that_all_has() -> None:
    """And a message knows every library of an extra."""
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    names = sorted(line.split(">")[0] for line in project["dependencies"])
    assert names == sorted(BASE)
    extras = project["optional-dependencies"]
    (everything,) = extras["all"]
    for extra in everything.removeprefix("twinswarm[").removesuffix("]").split(","):
        for line in extras[extra]:
            library = line.split(">")[0].replace("-", "_").removesuffix("_py")
            assert missing_extra(ModuleNotFoundError(name=IMPORTED_AS.get(library, library)))
