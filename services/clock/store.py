"""Where a clock keeps what its restart must know."""

from typing import Protocol

from schemas.participant import Json


class Store(Protocol):
    """As `runtime.checkpoint.CheckpointStore`."""

    def load(self) -> Json | None: ...

    def save(self, value: Json) -> None: ...


class NoStore:
    """For a clock whose death ends its run, or whose run the broker retains."""

    def load(self) -> Json | None:
        return None

    def save(self, value: Json) -> None:
        pass
