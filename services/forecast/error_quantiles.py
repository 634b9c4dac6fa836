"""Quantiles of a forecast's errors by how far ahead it looked, learned from its own errors."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from statistics import NormalDist

from schemas.participant import Json

LEADS_S = (900, 3600, 4 * 3600, 12 * 3600, 24 * 3600)
"""How far ahead the forecasts looked whose errors are followed; between them by proportion, beyond them as the last."""
STEP = 0.04
"""By so much of the unit of errors a quantile moves with each error: it follows the last hundreds of them."""
MOST = 8.0
"""No quantile is further from the expected value than so many units."""


class ErrorQuantiles:
    """Follows the quantiles of (measured − expected) / unit: each error moves the quantile of level p by
    `STEP`·p up if it lies above and by `STEP`·(1 − p) down if below (stochastic approximation, Robbins and Monro 1951,
    doi 10.1214/aoms/1177729586). So of what is measured a part p comes to lie below it, whatever the distribution is.
    """

    def __init__(self, levels: Sequence[float]) -> None:
        self.levels = tuple(levels)
        first = [NormalDist().inv_cdf(level) for level in self.levels]
        self._offsets = [list(first) for _ in LEADS_S]
        """By lead and level, in units."""
        self._waiting: dict[int, dict[datetime, tuple[float, float]]] = {lead: {} for lead in LEADS_S}
        """By lead: what was expected of a time, and the unit then [kW]."""

        self._kept: tuple[tuple[int, int], list[list[float]]] | None = None

    def expect(self, start: datetime, step_s: int, of: Callable[[datetime], tuple[float, float] | None]) -> None:
        """Remembers what is expected at ``start``; ``of`` gives the expected value and its unit, None: unknown."""
        for lead in LEADS_S:
            if lead % step_s:
                continue
            time = start + timedelta(seconds=lead)
            found = of(time)
            if found is not None:
                self._waiting[lead][time] = found

    def observe(self, start: datetime, power_kw: float) -> None:
        """Learns from the step that begins at ``start``; what was expected of earlier times is dropped."""
        for place, lead in enumerate(LEADS_S):
            waiting = self._waiting[lead]
            found = waiting.pop(start, None)
            for time in [time for time in waiting if time < start]:
                del waiting[time]
            if found is None:
                continue
            expected, unit = found
            if unit <= 0 or (expected == 0 and power_kw == 0):
                continue  # a night of PV says nothing of the day's errors
            error = (power_kw - expected) / unit
            for i, level in enumerate(self.levels):
                offset = self._offsets[place][i]
                moved = offset + STEP * (level if error > offset else level - 1)
                self._offsets[place][i] = min(max(moved, -MOST), MOST)
                self._kept = None

    def offsets(self, steps: int, step_s: int) -> list[list[float]]:
        """By step ahead, of each level, rising, in units. Kept until an error moves them."""
        if self._kept is None or self._kept[0] != (steps, step_s):
            self._kept = (steps, step_s), [self._offsets_at(step * step_s) for step in range(steps)]
        return self._kept[1]

    def _offsets_at(self, ahead_s: float) -> list[float]:
        if ahead_s <= LEADS_S[0]:
            return sorted(self._offsets[0])
        for place in range(1, len(LEADS_S)):
            if ahead_s < LEADS_S[place]:
                part = (ahead_s - LEADS_S[place - 1]) / (LEADS_S[place] - LEADS_S[place - 1])
                pairs = zip(self._offsets[place - 1], self._offsets[place], strict=True)
                return sorted(a + part * (b - a) for a, b in pairs)
        return sorted(self._offsets[-1])

    def snapshot(self) -> Json:
        return {
            "levels": list(self.levels),
            "offsets": [list(row) for row in self._offsets],
            "waiting": {
                str(lead): [[time.isoformat(), *found] for time, found in waiting.items()]
                for lead, waiting in self._waiting.items()
            },
        }

    def restore(self, state: Json) -> None:
        """What was learned of other levels is of no use."""
        if tuple(state["levels"]) != self.levels:
            return
        self._kept = None
        self._offsets = [list(row) for row in state["offsets"]]
        self._waiting = {
            int(lead): {datetime.fromisoformat(time): (kw, unit) for time, kw, unit in waiting}
            for lead, waiting in state["waiting"].items()
        }
