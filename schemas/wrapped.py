"""A participant around another one, in whose place it stands."""

from collections.abc import Mapping, Sequence
from typing import Generic, TypeVar

from schemas.messages import Birth, Phase
from schemas.participant import Cadence, Json, Outgoing, Participant, Received, Turn
from schemas.topics import Kind

P = TypeVar("P", bound=Participant)


class Wrapped(Generic[P]):
    """Does what ``inner`` does; a class derived from it says what it does otherwise."""

    def __init__(self, inner: P) -> None:
        self.inner = inner

    @property
    def site(self) -> str:
        return self.inner.site

    @property
    def kind(self) -> Kind:
        return self.inner.kind

    @property
    def device(self) -> str:
        return self.inner.device

    @property
    def subscriptions(self) -> tuple[str, ...]:
        return self.inner.subscriptions

    @property
    def cadence(self) -> Mapping[Phase, Cadence]:
        return self.inner.cadence

    def birth(self) -> Birth:
        return self.inner.birth()

    def act(self, turn: Turn, inbox: Sequence[Received]) -> list[Outgoing]:
        return self.inner.act(turn, inbox)

    def snapshot(self) -> Json:
        return self.inner.snapshot()

    def restore(self, state: Json) -> None:
        self.inner.restore(state)
