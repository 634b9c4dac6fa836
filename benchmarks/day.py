"""A day of the default site: in memory, over both brokers, in one process and in many; memory and start of a twin.

``python benchmarks/day.py [--repeat N]`` prints, for each way, the seconds of the day (processes started, day run,
processes ended; reference and report are not counted) and their ratio to the day in memory of the same run.
"""

import argparse
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import closing
from pathlib import Path

from broker.address import Credentials
from broker.mqtt import MqttTransport
from broker.servers.embedded import EmbeddedBroker
from broker.servers.mosquitto import find_mosquitto
from schemas.topics import Channel, Kind, topic_filter
from schemas.wire import decode, encode
from services.ems.door import Door
from services.history.sqlite import SqliteHistory
from sites.loader import load_site
from twinswarm.deploy.up import How, conduct_swarm
from twinswarm.simulation.pipeline import Order, conduct_in_memory
from twinswarm.simulation.runs import course_of
from twinswarm.simulation.variants import Reference, StorageChoice


def resident_mb(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    raise ValueError(f"process {pid} has no memory")


class MemoryWatch(threading.Thread):
    """The most that each process of the swarm had resident."""

    def __init__(self, folder: Path) -> None:
        super().__init__(daemon=True)
        self.folder = folder
        self.most_mb: dict[str, float] = {}
        self.over = threading.Event()

    def run(self) -> None:
        while not self.over.wait(0.2):
            for entry in Path("/proc").iterdir():
                try:
                    words = (entry / "cmdline").read_bytes().decode().split("\0") if entry.name.isdigit() else []
                    if "twinswarm.deploy.process" in words and any(str(self.folder) in word for word in words):
                        device = words[words.index("twinswarm.deploy.process") + 1]
                        self.most_mb[device] = max(self.most_mb.get(device, 0.0), resident_mb(int(entry.name)))
                except (OSError, ValueError):
                    continue


def a_day(folder: Path, broker: str | None, one_process: bool) -> float:
    site = load_site("fit_g2v")
    order = Order(site, course_of(site), StorageChoice.BOTH, Reference.SMART, folder / "history.sqlite")
    if broker is None:
        result = conduct_in_memory(order)
    else:
        result = conduct_swarm(order, How(broker, Credentials(), folder, one_process=one_process))
    assert result.wall_s is not None
    return result.wall_s


def online_after_s(device: str, folder: Path) -> float:
    """From the start of a twin's process to its birth on the broker."""
    site = load_site("fit_g2v")
    site_file = folder / "site.json"
    site_file.write_text(site.model_dump_json())
    with EmbeddedBroker() as broker:
        observer = MqttTransport(broker.address, "observer")
        observer.connect([topic_filter(site.site, Kind(site.devices[device].kind), device, Channel.BIRTH)])
        command = [sys.executable, "-m", "twinswarm.deploy.process", device, "--site", str(site_file)]
        began = time.perf_counter()
        process = subprocess.Popen([*command, "--broker", str(broker.address)])
        born = observer.receive(20.0)
        took = time.perf_counter() - began
        process.terminate()
        process.wait()
        observer.close()
    assert born is not None
    return took


def door_us(folder: Path) -> tuple[float, float]:
    """Processor time of a telemetry at the door of the EMS, and of decoding it [µs]: those of the default day."""
    site = load_site("fit_g2v")
    order = Order(site, course_of(site), StorageChoice.BOTH, Reference.SMART, folder / "history.sqlite")
    run = conduct_in_memory(order).run
    with closing(SqliteHistory(order.history)) as history:
        births, heard = list(history.births(run).values()), list(history.messages(run, Channel.TELEMETRY))
    payloads = [(message.topic, encode(message.stamp, message.body)) for message in heard]
    door = Door(site)
    door.admit(births)
    began = time.process_time()
    admitted = [message for each in heard for message in door.admit([each])]
    judged = time.process_time()
    for topic, payload in payloads:
        decode(topic, payload)
    decoded = time.process_time()
    assert len(admitted) == len(heard)
    return 1e6 * (judged - began) / len(heard), 1e6 * (decoded - judged) / len(heard)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeat", type=int, default=1)
    repeat = parser.parse_args().repeat
    ways: list[tuple[str, str | None, bool]] = [("in memory", None, True)]
    for broker in ("embedded", *(["mosquitto"] if find_mosquitto() else [])):
        ways += [(f"{broker}, many processes", broker, False), (f"{broker}, one process", broker, True)]
    baseline = None
    for name, broker, one_process in ways:
        seconds = []
        for _ in range(repeat):
            with tempfile.TemporaryDirectory() as folder:
                watch = MemoryWatch(Path(folder))
                watch.start()
                seconds.append(a_day(Path(folder), broker, one_process))
                watch.over.set()
        best = min(seconds)
        baseline = baseline or best
        print(f"{name:28} {best:6.2f} s   {best / baseline:5.1f} times the day in memory", flush=True)
        for device, most in sorted(watch.most_mb.items()):
            print(f"    {device:10} {most:6.1f} MB resident at most")
    with tempfile.TemporaryDirectory() as folder:
        judged_us, decoded_us = door_us(Path(folder))
    print(f"the door of the EMS {judged_us:.1f} µs a telemetry, decoding it {decoded_us:.1f} µs")
    for device in ("ev1", "bess", "building", "pv"):
        with tempfile.TemporaryDirectory() as folder:
            print(f"{device:10} online {online_after_s(device, Path(folder)):.2f} s after its start")


if __name__ == "__main__":
    main()
