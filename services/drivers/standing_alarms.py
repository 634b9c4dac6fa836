"""The alarms of a device that stand: when each begins, is raised again for another reason, and is over."""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

SAID_AGAIN = timedelta(seconds=5)
"""An alarm that stands is raised again for another reason, so often at most; time of the machine."""
BEGINNINGS = 3
FLAPS = timedelta(seconds=60)
"""An alarm that begins so many times within so long comes and goes; time of the machine ..."""
CALM = timedelta(seconds=10)
"""... and is over when its reason has been away for so long."""
COMES_AND_GOES = f"; it comes and goes: over when it has been away for {CALM.total_seconds():g} s"


class StandingAlarms:
    """Codes that stand. One that comes and goes stands until it has been away for a while, so that a device that
    does so every second is one alarm and not thousands."""

    def __init__(self) -> None:
        self.raised: set[str] = set()
        self._reasons: dict[str, tuple[str, datetime]] = {}
        """Why they were raised, and when that was said."""
        self._begun: dict[str, list[datetime]] = {}
        """When they began, as far as it is not too long ago."""
        self._held: dict[str, datetime] = {}
        """Those that come and go, and when the reason was there last."""

    def change(
        self, now: Mapping[str, str], because: Mapping[str, str], at: datetime, pace: float = 1.0
    ) -> dict[str, str | None]:
        """The codes of which something is to be said, with the text; None: it is over.

        ``now``: text of each code for which there is a reason. ``because``: the reason itself, which may be empty.
        ``pace``: seconds of the run, whose time ``at`` is, in one of the machine.
        """
        changed: dict[str, str | None] = {}
        for code, text in now.items():
            if code not in self.raised:
                lately = [begun for begun in self._begun.get(code, ()) if at - begun < FLAPS * pace]
                self._begun[code] = [*lately, at]
                if len(lately) >= BEGINNINGS - 1:
                    self._held[code] = at
                changed[code] = text + (COMES_AND_GOES if code in self._held else "")
            elif self._says_more(code, because[code], at, pace):
                changed[code] = text
            if code in self._held:
                self._held[code] = at
        for code in self.raised - now.keys():
            if code not in self._held or at - self._held[code] >= CALM * pace:
                changed[code] = None
                self._held.pop(code, None)
        self.raised = (self.raised | now.keys()) - {code for code, text in changed.items() if text is None}
        self._reasons |= {code: (because.get(code, ""), at) for code, text in changed.items() if text is not None}
        return changed

    def restore(self, raised: Iterable[str]) -> None:
        """What comes and goes is not known any more."""
        self.raised = set(raised)
        self._reasons, self._begun, self._held = {}, {}, {}

    def _says_more(self, code: str, because: str, at: datetime, pace: float) -> bool:
        """Whether an alarm that stands is raised again, for another reason than it was: at once if it had none."""
        before, said = self._reasons.get(code, ("", None))
        return because not in ("", before) and (not before or said is None or at - said >= SAID_AGAIN * pace)
