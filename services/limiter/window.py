"""What a source of limits says: windows of time, each with the most power that may flow."""

from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from schemas.units import PositiveKw, UtcTime


class Window(BaseModel):
    """The most power in the half-open [begins, ends)."""

    model_config = ConfigDict(frozen=True, allow_inf_nan=False)

    begins: UtcTime | None = None
    """None: now."""
    ends: UtcTime | None = None
    """None: as long as the source is heard and says nothing else."""
    import_kw: PositiveKw | None = None
    export_kw: PositiveKw | None = None
    source: Annotated[str, Field(min_length=1, max_length=100)] | None = None
    """Who demands it, in words, where the source knows more than the site."""

    def holds_at(self, instant: datetime) -> bool:
        return (self.begins is None or self.begins <= instant) and (self.ends is None or instant < self.ends)


class Heard(BaseModel):
    """What was heard of a source, or why nothing was."""

    model_config = ConfigDict(frozen=True)

    windows: tuple[Window, ...] | None = None
    """All that it says of now and later, in order of time and without overlaps. None: it was not heard."""
    trouble: str = ""
    """What is wrong: with the source where there are no windows, else with a part of what it said."""
