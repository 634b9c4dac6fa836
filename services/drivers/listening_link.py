"""Any device with an MQTT interface of its own: a thread that listens to its topics."""

import logging
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

from pydantic import BaseModel

from broker.transport import Delivery, Transport
from schemas.errors import BrokerUnreachableError, MessageRefusedError
from services.drivers.complaints import Complaints
from services.drivers.link import Measured

LOG = logging.getLogger(__name__)

RETRY_S = 5.0
"""Between attempts to reach the device's broker for the first time; afterwards the transport reconnects by itself."""
PATIENCE_S = 0.5


class UnreadableError(Exception):
    """A message in which a value is not what the mapping says; the text says why."""


class ListeningLink(ABC):
    """Listens in a thread of its own. ``connect`` makes the connection to the device's broker."""

    value_type: type[BaseModel] = Measured

    def __init__(self, name: str, topics: Sequence[str], connect: Callable[[], Transport]) -> None:
        self.name = name
        self._topics = tuple(dict.fromkeys(topics))
        self._connect = connect
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._wake: Callable[[], None] = lambda: None
        self._complaints = Complaints(name)

    @abstractmethod
    def _heard(self, topic: str, payload: bytes) -> BaseModel | None:
        """What a message says; None: nothing. Raises UnreadableError."""

    def _kept(self, found: BaseModel) -> BaseModel:
        """What is still true of a message that the broker has kept from before the connection, for how long nobody
        knows."""
        return found

    def _begin(self) -> None:  # noqa: B027 - who says nothing has nothing to begin
        """The connection stands, for the first time or anew."""

    def _say(self, transport: Transport) -> float:
        """Publishes what is due; returns the seconds after which it wants to be asked again."""
        del transport
        return PATIENCE_S

    def _troubled(self, why: str) -> BaseModel:
        """The value that says that nothing can be read."""
        return Measured(trouble=why[:300])

    def open(self, put: Callable[[object], bool]) -> None:
        self._stop.clear()
        self._thread = threading.Thread(target=self._run, args=(put,), name=f"link {self.name}", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._stop.set()
        self._wake()
        if self._thread is not None:
            self._thread.join(5.0)

    def _run(self, put: Callable[[object], bool]) -> None:
        while not self._stop.is_set():
            transport = self._connect()
            try:
                transport.connect(self._topics)
                self._wake = transport.waker()
                self._begin()
                while not self._stop.is_set():
                    delivery = transport.receive(self._say(transport))
                    if delivery is not None:
                        self._take(delivery, put)
                        transport.acknowledge(delivery)
            except (BrokerUnreachableError, MessageRefusedError) as error:
                LOG.warning("%s: %s", self.name, error)
                put(self._troubled(str(error)))
                self._stop.wait(RETRY_S)
            except Exception as error:  # a thread that ended would leave a device that nobody hears, and say nothing
                LOG.exception("%s", self.name)
                put(self._troubled(f"{type(error).__name__}: {error}"))
                self._stop.wait(RETRY_S)
            finally:
                transport.close()

    def _take(self, delivery: Delivery, put: Callable[[object], bool]) -> None:
        try:
            found = self._heard(delivery.topic, delivery.payload)
        except Exception as error:  # one message must not cost the connection
            known = isinstance(error, UnreadableError)
            why = str(error) if known else f"topic {delivery.topic}: {type(error).__name__}: {error}"
            self._complaints.write(why, traced=not known)
            put(self._troubled(why))
            return
        if found is not None:
            put(self._kept(found) if delivery.retained else found)
