"""How long a set-point takes to the register of a device with SunSpec, and how late it ends there with nobody left.

An EMS' hand publishes set-points on a real Mosquitto; the driver of a battery follows them in its run loop; the device
is a SunSpec server (`services.outward`) that notes when it is written. Then set-points are left to end: first with
nobody on the broker, then with the broker stopped.

python benchmarks/modbus.py [--setpoints 300] [--ends 20] [--models 100]
"""

import argparse
import logging
import statistics
import threading
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from broker.mqtt import MqttTransport
from broker.servers.mosquitto import LocalMosquitto
from runtime.wall import WallLoop, drive
from schemas.messages import BessTelemetry, Fallback, Run, Setpoint, Stamp, TimeMode
from schemas.site import Bess
from schemas.site.drivers import SunspecDriver
from schemas.topics import Channel, Kind, Topic
from schemas.wire import encode
from services.outward.face import Asked
from services.outward.sunspec_map import SunspecMap
from services.outward.sunspec_server import SunspecServer
from sites.loader import load_site
from twinswarm.deploy.drivers import driven

SITE = load_site("fit_g2v")
DEVICE = "bess"
RUN = "20260101T000000.000000Z-0001"
PATIENCE_S = 30.0
VALID_S = 1.0


class Lab:
    """A battery with SunSpec, and when it was written what."""

    def __init__(self, models: str) -> None:
        self.server = SunspecServer(DEVICE, SunspecMap(SITE, DEVICE, models), "127.0.0.1", 0)
        self._written = threading.Condition()
        self._last: tuple[float, float] | None = None
        self.server.open(self._put)
        self.server.show(BessTelemetry(power_kw=0.0, soc_frac=0.5), None)

    def _put(self, value: object) -> bool:
        assert isinstance(value, Asked)
        with self._written:
            self._last = (time.perf_counter(), 0.0 if value.value_kw is None else value.value_kw)
            self._written.notify_all()
        return True

    def when(self, power_kw: float) -> float:
        """When the device was written this power, which it is waited for."""
        with self._written:
            if not self._written.wait_for(lambda: self._stands(power_kw), PATIENCE_S):
                raise TimeoutError(f"{power_kw} kW were not written in {PATIENCE_S:g} s")
            assert self._last is not None
            return self._last[0]

    def _stands(self, power_kw: float) -> bool:
        return self._last is not None and abs(self._last[1] - power_kw) < 0.01


class Ems:
    """Sends set-points and does nothing else."""

    def __init__(self, broker: LocalMosquitto) -> None:
        self._bus = MqttTransport(broker.address, "bench_ems")
        self._bus.connect([])
        self._boot = f"ems-{time.monotonic_ns()}"
        self._seq = 0

    def send(self, topic: Topic, body: Run | Setpoint, *, retain: bool = False) -> None:
        self._seq += 1
        stamp = Stamp(ts=datetime.now(UTC), run=RUN, boot=self._boot, seq=self._seq)
        self._bus.publish(str(topic), encode(stamp, body), retain=retain)

    def ask(self, power_kw: float, seconds: float) -> float:
        """Returns when the set-point was sent."""
        now = datetime.now(UTC)
        body = Setpoint(
            id=f"s{self._seq}",
            epoch=1,
            valid_from=now,
            valid_until=now + timedelta(seconds=seconds),
            power_kw=power_kw,
            fallback=Fallback.IDLE,
        )
        sent = time.perf_counter()
        self.send(Topic(SITE.site, Kind.BESS, DEVICE, Channel.SETPOINT), body)
        return sent


def said(name: str, seconds: Sequence[float]) -> None:
    milli = sorted(1000 * each for each in seconds)
    p99 = milli[min(len(milli) - 1, round(0.99 * len(milli)))]
    print(f"{name:42} p50 {statistics.median(milli):7.1f} ms   p99 {p99:7.1f} ms   n {len(milli)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--setpoints", type=int, default=300)
    parser.add_argument("--ends", type=int, default=20)
    parser.add_argument("--models", choices=("100", "700"), default="100")
    options = parser.parse_args()
    logging.disable(logging.WARNING)  # that the broker is away
    lab = Lab(options.models)
    described = SunspecDriver(host="127.0.0.1", port=lab.server.port)
    spec = SITE.devices[DEVICE].model_copy(update={"driver": described})
    assert isinstance(spec, Bess)
    site = SITE.model_copy(update={"devices": {**SITE.devices, DEVICE: spec}})
    most_kw = spec.max_charge_kw
    with LocalMosquitto() as broker:
        ems = Ems(broker)
        now = datetime.now(UTC)
        run = Run(mode=TimeMode.WALL, step_s=900, t0=now, wall0=now, speed=1.0, simulated=False)
        ems.send(Topic(site.site, Kind.CLOCK, "clock", Channel.RUN), run, retain=True)
        transport = MqttTransport(broker.address, "bench_driver")
        loop = WallLoop(driven(site, DEVICE)(), transport, new_boot=lambda: "life1")
        stop = threading.Event()
        thread = threading.Thread(target=drive, args=(loop, transport, stop), daemon=True)
        thread.start()
        lab.when(0.0)
        took = []
        for count in range(options.setpoints):
            power_kw = most_kw * (0.2 + 0.6 * (count % 7) / 7) * (-1) ** count
            sent = ems.ask(power_kw, 600.0)
            took.append(lab.when(power_kw) - sent)
        said("set-point to register", took)
        said("end of a set-point, with the EMS dead", [ended(ems, lab, most_kw) for _ in range(options.ends)])
        late = []
        for _ in range(max(1, options.ends // 5)):
            late.append(ended(ems, lab, most_kw, broker))
            broker.start()
            time.sleep(3.0)  # they connect again
            ems = Ems(broker)
        said("end of a set-point, with the broker dead", late)
        stop.set()
        thread.join(20)
    lab.server.close()


def ended(ems: Ems, lab: Lab, most_kw: float, broker: LocalMosquitto | None = None) -> float:
    """How late a set-point ended at the device [s]. ``broker``: it is stopped meanwhile."""
    sent = ems.ask(most_kw / 2, VALID_S)
    lab.when(most_kw / 2)
    if broker is not None:
        broker.stop()
    return lab.when(0.0) - sent - VALID_S


if __name__ == "__main__":
    main()
