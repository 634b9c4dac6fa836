"""A broker, and examinations on it: of a participant of this program in its run loop, or of a program beside it."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from broker.address import BrokerAddress, Credentials
from broker.mqtt import MqttTransport
from runtime.drive import drive
from runtime.wall import WallLoop
from schemas.participant import Participant
from services.conformance.proxy import CuttableWay
from services.conformance.verdicts import Outcome, Verdicts
from services.conformance.wishes import Wishes
from twinswarm.deploy.examining import Moment, examine
from twinswarm.deploy.process import Connection

SEED = 20_261_129


def wishes(*, count: int = 2, slack_s: float = 1.5) -> Wishes:
    """Patient, for a busy machine: what is waited for comes at once on an idle one."""
    return Wishes(seed=SEED, count=count, patience_s=10.0, slack_s=slack_s, join_s=30.0, back_s=15.0)


def examined(
    broker: BrokerAddress | Connection,
    site: str,
    device: str,
    way: CuttableWay | None,
    moment: Moment | None = None,
    wanted: Wishes | None = None,
) -> Verdicts:
    said: list[str] = []
    connection = Connection(broker) if isinstance(broker, BrokerAddress) else broker
    _, verdicts = examine(connection, site, device, wanted or wishes(), way, moment or Moment(), said.append)
    return verdicts


@contextmanager
def living(
    make: Callable[[], Participant], broker: BrokerAddress, proof: Credentials | None = None
) -> Iterator[CuttableWay]:
    """The participant in its run loop, through a way that can be cut."""
    participant = make()
    with CuttableWay(0, broker.host, broker.port) as way:
        name = f"{participant.site}_{participant.device}"
        transport = MqttTransport(BrokerAddress("127.0.0.1", way.port, tls=broker.tls), name, proof)
        boots = iter(range(1, 100))
        loop = WallLoop(participant, transport, new_boot=lambda: f"life{next(boots)}")
        stop = threading.Event()
        thread = threading.Thread(target=drive, args=(loop, transport, stop), daemon=True)
        thread.start()
        try:
            yield way
        finally:
            stop.set()
            thread.join(20)
        assert not thread.is_alive()


def failures(verdicts: Verdicts) -> dict[str, tuple[str, ...]]:
    return {str(clause): verdicts.evidence(clause) for clause in verdicts.failures}


def not_judged(verdicts: Verdicts) -> set[str]:
    return {str(clause) for clause, outcome in verdicts.outcomes.items() if outcome is Outcome.NOT_JUDGED}
