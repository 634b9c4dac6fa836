"""Two runs of one clock: a building whose twins answer as Modbus and OCPP devices, and a site that takes them for real.

``hardware`` is the building: PV and battery answer as SunSpec servers, the charger connects as an OCPP 2.1 charge
point, and the load meter's telemetry is the JSON that a mapped MQTT meter publishes. ``mixed`` is the site with the
EMS: these four are drivers there, ev2 and the network are twins. ``twins`` is the same site without drivers. Both runs
have one clock by ``--start-at``. Each way to the hardware passes a door that can be shut.
"""

import csv
import json
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from datetime import time as dt_time
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import yaml

from broker.servers.mosquitto import LocalMosquitto
from services.conformance.proxy import CuttableWay
from sites.loader.template import write_template
from tests.cli.calling import COMMAND, plain_environment

DRIVEN = ("ev1", "pv", "bess", "building")
BY_PROTOCOL = {"ev1": "OCPP 2.1", "pv": "SunSpec", "bess": "SunSpec", "building": "mapped MQTT"}
READY_S = 40.0
"""From the order to the beginning of the hardware's run, for all processes to be there."""
AHEAD_S = 12.0
"""So much earlier the hardware begins, at least, so that it is found and has been heard when the site's run begins."""
DAY = date(2024, 5, 17)
STEP = timedelta(minutes=15)
HARDWARE_S = 60.0
"""Telemetry of the hardware, in the run's time."""
TELEMETRY_S = 300.0
"""Telemetry of the site. The PCC is the sum of the devices there, by their registers: with a shorter one the age of a
reading, which changes from one to the next, would be half of what flowed between them."""
ZONE = ZoneInfo("Europe/Rome")
AGE_S = {"ev1": 5.0, "pv": 3.0, "bess": 3.0, "building": 5.0}
"""So old may a power be [s of the machine]."""
REVERT_S = 20
POLL_S = 0.1
SAMPLE_S = 1
PV_KW, PV_MIN = 12.0, (6 * 60, 6 * 60 + 30, 20 * 60 + 30, 21 * 60)
"""PV of a grey day: its power, and the minutes at which it begins to rise, stands, begins to fall, is over."""
VEHICLE = {"capacity_kwh": 60.0, "arrival_soc_frac": 0.5, "target_soc_frac": 0.7}


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def minutes(length: timedelta) -> str:
    return f"{length // timedelta(minutes=1)}min"


def time_of(local: str) -> dt_time:
    return dt_time.fromisoformat(local)


def profiles_by_the_minute(file: Path) -> None:
    """The template's load and prices by the minute, with the PV of a grey day.

    A value that holds for a quarter-hour jumps just where a plan begins: by a measurement that is a second older it
    would be a plan for the quarter-hour before. So the load changes by the minute. The power of a PV twin is constant
    within a settlement period; so it is one that hardly changes while the storage works.
    """
    with file.open(newline="") as source:
        hours = [
            {name: text if name == "local_time" else float(text) for name, text in row.items()}
            for row in csv.DictReader(source)
        ]
    with file.open("w", newline="") as target:
        writer = csv.writer(target)
        writer.writerow(("local_time", "load_kw", "price_eur_per_kwh", "pv_kw"))
        for minute in range(24 * 60):
            before, after = hours[minute // 15], hours[(minute // 15 + 1) % len(hours)]
            part = (minute % 15 + 0.5) / 15
            load_kw = float(before["load_kw"]) * (1 - part) + float(after["load_kw"]) * part
            rise, stand, fall, over = PV_MIN
            pv_kw = PV_KW * max(0.0, min((minute - rise) / (stand - rise), 1.0, (over - minute) / (over - fall)))
            hour = f"{minute // 60:02}:{minute % 60:02}"
            writer.writerow((hour, f"{load_kw:.4f}", before["price_eur_per_kwh"], f"{pv_kw:.4f}"))


@dataclass(frozen=True)
class Sites:
    """The three descriptions, and the ways to the hardware by device."""

    hardware: Path
    mixed: Path
    twins: Path
    ways: dict[str, CuttableWay]
    ocpp_url: str


def described(folder: Path, stack: ExitStack, hardware_broker: int, revert_s: int, telemetry_s: float) -> Sites:
    """Writes the sites. The template's: PV 60 kWp, BESS 40 kWh, a V2G charger, an AC charger, a load."""

    def parts(name: str, period_s: float) -> dict[str, Any]:
        place = folder / name
        write_template(place)
        found: dict[str, Any] = yaml.safe_load((place / "site.yaml").read_text())
        found["site"] = name
        profiles_by_the_minute(place / "profiles.csv")
        found["profiles"]["pv"] = {"type": "day", "file": "profiles.csv", "column": "pv_kw"}
        found["devices"]["pv"] |= {kind: {"type": "power", "profile": "pv"} for kind in ("source", "forecast")}
        for device in found["devices"].values():
            device["telemetry_period_s"] = period_s
        # The vehicle says over OCPP its SOC and nothing else. So that both runs know the same of it, it announces what
        # the site assumes.
        ev1 = found["devices"]["ev1"]
        session = {"vehicle": "car1", "arrival": "08:50", "departure": "18:00", **VEHICLE}
        ev1["daily"] = [{**session, "soc_min_frac": 0.0, "soc_max_frac": 1.0}]
        ev1["assume"] = {**VEHICLE, "departure": "18:00"}
        return found

    def way(port: int) -> CuttableWay:
        return stack.enter_context(CuttableWay(0, "127.0.0.1", port))

    def written(name: str, found: dict[str, Any]) -> Path:
        file = folder / name / "site.yaml"
        file.write_text(yaml.safe_dump(found, sort_keys=False))
        return file

    hardware, mixed = parts("hardware", HARDWARE_S), parts("mixed", telemetry_s)
    twins = written("twins", parts("twins", telemetry_s))
    ports = {name: free_port() for name in ("pv", "bess", "ev1")}
    ways = {**{name: way(port) for name, port in ports.items()}, "building": way(hardware_broker)}
    for name in ("pv", "bess"):
        hardware["devices"][name]["outward"] = {"type": "sunspec", "port": ports[name], "models": "700"}
        mixed["devices"][name]["driver"] = {
            "type": "sunspec",
            "host": "127.0.0.1",
            "port": ways[name].port,
            "poll_s": POLL_S,
            "timeout_s": 1.0,
            "revert_s": revert_s,
            "max_age_s": AGE_S[name],
        }
    mixed["ocpp"] = {"port": ports["ev1"]}
    mixed["devices"]["ev1"]["driver"] = {
        "type": "ocpp",
        "charge_point": "CP1",
        "sample_s": SAMPLE_S,
        "clock_aligned_s": SAMPLE_S,
        "max_age_s": AGE_S["ev1"],
    }
    topic = "twin/v2/hardware/meter/building/telemetry"
    mixed["devices"]["building"]["driver"] = {
        "type": "mqtt",
        "broker": f"mqtt://127.0.0.1:{ways['building'].port}",
        "power_kw": {"topic": topic, "path": "power_kw"},
        "energy_import_kwh": {"topic": topic, "path": "energy_import_kwh"},
        "max_age_s": AGE_S["building"],
    }
    url = f"ws://127.0.0.1:{ways['ev1'].port}/CP1"
    return Sites(written("hardware", hardware), written("mixed", mixed), twins, ways, url)


@dataclass
class Lab:
    """The processes of both runs. Results are those of ``--json``."""

    folder: Path
    sites: Sites
    speed: float
    begin: datetime
    """Local time of the site's run at its beginning."""
    length: str
    start: datetime
    """The machine's time then."""
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def launch(self, name: str, *arguments: str) -> None:
        log = (self.folder / f"{name}.log").open("w")
        self.processes[name] = subprocess.Popen(
            [*COMMAND, *arguments], cwd=self.folder, stdout=log, stderr=log, env=plain_environment()
        )

    def up(
        self, name: str, broker: str, local: datetime, length: timedelta, start: datetime, attached: Sequence[str]
    ) -> None:
        """A run of the site ``name`` that begins with the local time ``local`` at the machine's time ``start``."""
        self.launch(
            name,
            *("up", "--site", str(getattr(self.sites, name)), "--broker", broker, "--one-process", "--no-report"),
            *("--date", f"{local:%Y-%m-%d}", "--from", f"{local:%H:%M}", "--for", minutes(length)),
            *("--speed", f"{self.speed:g}", "--start-at", start.isoformat()),
            *(part for device in attached for part in ("--attach", device)),
            *("--history", f"sqlite:{name}.sqlite", "--json", f"{name}.json"),
        )

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text()

    def wait_for(self, local: str) -> None:
        """Waits for an hour of the run."""
        due = self.start + (datetime.combine(DAY, time_of(local)) - self.begin) / self.speed
        while (left_s := (due - datetime.now(UTC)).total_seconds()) > 0:
            time.sleep(min(left_s, 0.5))
            assert self.processes["mixed"].poll() is None, self.log("mixed")[-2000:]

    def wait(self, name: str, seconds: float) -> dict[str, Any]:
        """The result of a run, when it is over."""
        code = self.processes[name].wait(seconds)
        assert code == 0, self.log(name)[-3000:]
        found: dict[str, Any] = json.loads((self.folder / f"{name}.json").read_text())
        return found

    def stop(self) -> None:
        for process in self.processes.values():
            process.send_signal(signal.SIGTERM)
        for process in self.processes.values():
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(10)


@contextmanager
def running(
    folder: Path,
    *,
    speed: float,
    begin: str,
    hours: float,
    revert_s: int = REVERT_S,
    telemetry_s: float = TELEMETRY_S,
) -> Iterator[Lab]:
    """Both runs. The hardware's begins before the site's, and lives on a quarter-hour longer."""
    with ExitStack() as stack:
        home, swarm = (stack.enter_context(LocalMosquitto(directory=folder / name)) for name in ("home", "swarm"))
        sites = described(folder, stack, home.address.port, revert_s, telemetry_s)
        addresses = {name: f"mqtt://127.0.0.1:{each.address.port}" for name, each in (("home", home), ("swarm", swarm))}
        ahead = -(-timedelta(seconds=AHEAD_S) * speed // STEP) * STEP
        earlier = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=READY_S)
        start, local = earlier + ahead / speed, datetime.combine(DAY, time_of(begin))
        length = timedelta(hours=hours)
        lab = Lab(folder, sites, speed, local, minutes(length), start)
        stack.callback(lab.stop)
        lab.launch("drive", "drive", *DRIVEN, "--site", str(sites.mixed), "--broker", addresses["swarm"])
        lab.launch(
            "ev1",
            *("twin", "ev1", "--site", str(sites.hardware), "--broker", addresses["home"]),
            *("--ocpp", sites.ocpp_url, "--ocpp-version", "2.1"),
        )
        lab.up("hardware", addresses["home"], local - ahead, ahead + length + STEP, earlier, ("ev1", "ems"))
        lab.up("mixed", addresses["swarm"], local, length, start, DRIVEN)
        yield lab


def of_twins(lab: Lab) -> dict[str, Any]:
    """The result of the same day with twins alone, in memory."""
    command = ["run", "--site", str(lab.sites.twins), "--from", f"{lab.begin:%H:%M}", "--for", lab.length]
    subprocess.run(
        [*COMMAND, *command, "--no-report", "--history", "sqlite:twins.sqlite", "--json", "twins.json"],
        cwd=lab.folder,
        env=plain_environment(),
        check=True,
        capture_output=True,
        timeout=300,
    )
    found: dict[str, Any] = json.loads((lab.folder / "twins.json").read_text())
    return found
