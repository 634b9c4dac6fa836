"""Two hosts of this machine: network namespaces with a cable between them, and a broker on one of them.

The test is on neither; it has a cable of its own to the broker's.
"""

import contextlib
import os
import shutil
import subprocess
import time
from pathlib import Path

from broker.address import BrokerAddress
from broker.servers.mosquitto import find_mosquitto

PORT = 1883
PATIENCE_S = 20.0
_CONFIGURATION = """
listener {port} {host}
allow_anonymous true
max_queued_messages 0
log_dest file {log}
user root
"""


def may_have_hosts() -> bool:
    """It takes root, and a kernel that lets it."""
    if os.geteuid() != 0 or shutil.which("ip") is None:
        return False
    name = f"tw{os.getpid()}probe"
    made = subprocess.run(["ip", "netns", "add", name], check=False, capture_output=True).returncode == 0
    if made:
        _ip("netns", "del", name)
    return made


class TwoHosts:
    """Context manager. ``near`` has the broker. ``away`` begins a command that is to run on the other one."""

    def __init__(self) -> None:
        number = os.getpid() % 65_536
        network = f"10.{number >> 8}.{number & 255}"
        self.near, self._far, self._test = (f"tw{number}{name}" for name in ("near", "far", "test"))
        self.address = BrokerAddress(f"{network}.1", PORT)
        self._test_at, self._near_at, self._far_at = (f"{network}.{last}" for last in (2, 5, 6))

    @property
    def away(self) -> tuple[str, ...]:
        return ("ip", "netns", "exec", self._far)

    def cut(self) -> None:
        """The cable is pulled: nothing passes, and no end of a connection is heard of."""
        _ip("-n", self.near, "link", "set", "cable", "down")

    def mend(self) -> None:
        _ip("-n", self.near, "link", "set", "cable", "up")

    def __enter__(self) -> "TwoHosts":
        for host in (self.near, self._far):
            _ip("netns", "add", host)
            _ip("-n", host, "link", "set", "lo", "up")
        _ip("link", "add", self._test, "type", "veth", "peer", "name", "test", "netns", self.near)
        _ip("-n", self.near, "link", "add", "cable", "type", "veth", "peer", "name", "cable", "netns", self._far)
        _ip("addr", "add", f"{self._test_at}/30", "dev", self._test)
        _ip("-n", self.near, "addr", "add", f"{self.address.host}/30", "dev", "test")
        _ip("-n", self.near, "addr", "add", f"{self._near_at}/30", "dev", "cable")
        _ip("-n", self._far, "addr", "add", f"{self._far_at}/30", "dev", "cable")
        _ip("link", "set", self._test, "up")
        for host, device in ((self.near, "test"), (self.near, "cable"), (self._far, "cable")):
            _ip("-n", host, "link", "set", device, "up")
        _ip("-n", self._far, "route", "add", "default", "via", self._near_at)
        return self

    def __exit__(self, *_: object) -> None:
        for host in (self._far, self.near):
            with contextlib.suppress(subprocess.CalledProcessError):
                _ip("netns", "del", host)


class BrokerOnHost:
    """A Mosquitto on the near host, without a disk."""

    def __init__(self, hosts: TwoHosts, folder: Path) -> None:
        self.address = hosts.address
        self._host, self._folder = hosts.near, folder
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> BrokerAddress:
        self._folder.mkdir(exist_ok=True)
        file = self._folder / "mosquitto.conf"
        log = self._folder / "mosquitto.log"
        file.write_text(_CONFIGURATION.format(port=PORT, host=self.address.host, log=log), encoding="utf-8")
        self._process = subprocess.Popen(["ip", "netns", "exec", self._host, str(find_mosquitto()), "-c", str(file)])
        deadline = time.monotonic() + PATIENCE_S
        while not self._listens():
            assert self._process.poll() is None, log.read_text(encoding="utf-8")
            assert time.monotonic() < deadline, "Mosquitto does not listen"
            time.sleep(0.05)
        return self.address

    def _listens(self) -> bool:
        command = ["ip", "netns", "exec", self._host, "ss", "-Hltn", f"sport = :{PORT}"]
        return bool(subprocess.run(command, check=True, capture_output=True).stdout)

    def stop(self) -> None:
        self._end(kill=False)

    def kill(self) -> None:
        self._end(kill=True)

    def _end(self, *, kill: bool) -> None:
        process, self._process = self._process, None
        if process is not None:
            (process.kill if kill else process.terminate)()
            process.wait(10)


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)
