"""A charge point's side of the connection, by OCPP's version."""

from typing import TYPE_CHECKING, Any, Protocol

from services.outward.ocpp.session import Sample, Transaction

if TYPE_CHECKING:
    from services.outward.ocpp.face import OcppFace, Version

VENDOR, MODEL = "twinswarm", "charger twin"
ANSWER_S = 30.0


class Point(Protocol):
    """Its methods return when the central system has answered. They raise ConnectionClosed and TimeoutError."""

    async def start(self) -> None:
        """Handles what comes, until the connection is closed."""
        ...

    async def boot(self) -> float:
        """Until it is accepted; the seconds between heartbeats."""
        ...

    async def beat(self) -> None: ...

    async def status(self, status: str, face: "OcppFace") -> None: ...

    async def begin(self, transaction: Transaction, sample: Sample, *, offline: bool) -> None: ...

    async def meter(self, transaction: Transaction | None, sample: Sample, context: str, *, offline: bool) -> None: ...

    async def end(self, transaction: Transaction, sample: Sample, reason: str, *, offline: bool) -> None: ...


def point_of(version: "Version", identity: str, connection: Any, face: "OcppFace") -> Point:
    if version == "1.6":
        from services.outward.ocpp.v16 import Point16

        return Point16(identity, connection, face)
    from services.outward.ocpp.v2 import Point21, Point201

    return (Point201 if version == "2.0.1" else Point21)(identity, connection, face)
