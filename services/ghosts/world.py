"""A site of ghosts as the participant sees it: what goes in for a step, and what comes out."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from schemas.messages import Limit, PlanStatus, Series, Telemetry
from schemas.participant import Json
from schemas.topics import Kind
from services.ghosts.real_meter import Piece

Said = tuple[Kind, str, Series | Limit]
"""Kind and name of the sender, and what it said."""


@dataclass(frozen=True, slots=True)
class StepResult:
    """One world at the end of a step."""

    import_kwh: float
    """In the step, as ``export_kwh``."""
    export_kwh: float
    over_limit_kwh: float
    devices: Mapping[str, Telemetry]
    """Telemetry of the ghosts, by name."""
    status: PlanStatus | None
    """How the EMS planned the step that begins now; None: this world has no EMS."""
    reason: str | None
    """Why it could not."""


class World(Protocol):
    """Ghosts beside the real load. It goes from settlement step to settlement step, in lock-step, at any pace."""

    def step(self, pieces: Sequence[Piece], now_kw: float, said: Sequence[Said]) -> StepResult:
        """Lives through the step that has ended with ``pieces``, and decides about the one that begins.

        ``now_kw``: the real power that is expected in it. ``said``: what is new. The first step has no pieces: it only
        decides.
        """
        ...

    def snapshot(self) -> Json: ...

    def restore(self, state: Json) -> None: ...


@dataclass(frozen=True)
class Worlds:
    """The sites that are compared with the real one."""

    ghosts: World
    unmanaged: World | None
    """With the ghosts' vehicles alone, charged on arrival; None: there is no ghost charger."""


WorldMaker = Callable[[datetime, int], Worlds]
"""From the beginning and the length of a step [s] to the worlds that begin then."""
