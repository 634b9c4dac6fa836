"""One stack for all tests of the session: provisioned, up to healthy, removed with its volumes at the end."""

import subprocess
import sys
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import pytest

from broker.address import BrokerAddress, Credentials
from tests.parts import skip_without
from tests.stack.observer import Observer
from tests.stack.stack import ROOT, Stack, what_is_missing

SITE = "fit-g2v"


@contextmanager
def provisioned(stack: Stack) -> Iterator[Stack]:
    missing = what_is_missing()
    skip_without(missing or "", present=missing is None)
    try:
        stack.provision()
        yield stack
    finally:
        stack.down()


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    """A lock-step day begins when it comes up, and is over soon after."""
    with provisioned(Stack()) as stack:
        stack.up()
        yield stack


@pytest.fixture(scope="session")
def observer(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Observer]:
    """Who reads all of the bus, from outside the containers, through the published port."""
    with observing(stack, tmp_path_factory.mktemp("observer")) as observer:
        yield observer


@contextmanager
def observing(stack: Stack, folder: Path, site: str = SITE) -> Iterator[Observer]:
    observer = Observer(BrokerAddress("127.0.0.1", stack.port, tls=True), proof(stack, "observer", folder), site)
    try:
        yield observer
    finally:
        observer.close()


def proof(stack: Stack, name: str, folder: Path) -> Credentials:
    """A device's certificate, unpacked as somebody does who is given it."""
    with tarfile.open(fileobj=BytesIO(stack.provision("export", name, "--out", "-"))) as archive:
        archive.extractall(folder, filter="data")
    own = folder / name
    return Credentials(own / "ca.crt", own / f"{name}.crt", own / f"{name}.key")


@contextmanager
def charger(stack: Stack, site: str, device: str, folder: Path) -> Iterator[None]:
    """The example's process, as on another machine: it knows paho, the broker's address and its certificate."""
    own = proof(stack, device, folder)
    shown = {"--cafile": own.cafile, "--cert": own.cert, "--key": own.key}
    options = {"--broker": f"mqtts://127.0.0.1:{stack.port}", "--site": site, "--device": device, **shown}
    words = [str(word) for option in options.items() for word in option]
    log = folder / "charger.log"
    with log.open("wb") as output:
        command = [sys.executable, str(ROOT / "examples" / "charger.py"), *words]
        process = subprocess.Popen(command, cwd=folder, stdout=output, stderr=output)
    try:
        yield
        assert process.poll() is None, log.read_text()
    finally:
        process.terminate()
        process.wait(10.0)
