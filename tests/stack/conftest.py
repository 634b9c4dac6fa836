"""One stack for all tests of the session: provisioned, up to healthy, removed with its volumes at the end."""

import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import pytest

from broker.address import BrokerAddress, Credentials
from tests.parts import skip_without
from tests.stack.observer import Observer
from tests.stack.stack import Stack, what_is_missing


@contextmanager
def provisioned_stack() -> Iterator[Stack]:
    missing = what_is_missing()
    skip_without(missing or "", present=missing is None)
    stack = Stack()
    try:
        stack.provision()
        yield stack
    finally:
        stack.down()


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    """A lock-step day begins when it comes up, and is over soon after."""
    with provisioned_stack() as stack:
        stack.up()
        yield stack


@pytest.fixture(scope="session")
def observer(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Observer]:
    """Who reads all of the bus, from outside the containers, through the published port."""
    with observing(stack, tmp_path_factory.mktemp("observer")) as observer:
        yield observer


@contextmanager
def observing(stack: Stack, folder: Path) -> Iterator[Observer]:
    observer = Observer(BrokerAddress("127.0.0.1", stack.port, tls=True), proof(stack, "observer", folder))
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
