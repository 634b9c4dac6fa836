"""A sequential test of whether a store has parted from its description, and in which parameter.

Notes
-----
For each alternative (a parameter that is off by ``CHANGES`` either way) Page's CUSUM of the log-likelihood ratio of the
residuals runs: G = max(0, G + ln p1/p0). Its mean time to a false alarm is at least e^h intervals (Lorden, Annals of
Mathematical Statistics 42, 1971), whatever the sensitivities are, because these are known before the residual. With
six alternatives, h = ln(6 · intervals) makes one false alarm in so many intervals, on average, or fewer. A deviation
of less than half of the change makes G fall: it is within the tolerance of meters and descriptions, and no alarm.

The parameter is the one whose best value explains the residuals best since the alarming CUSUM was last 0 (the
generalised likelihood ratio); parameters that explain them alike are named with it until more is known. The alarm ends
by the same test with the two hypotheses in each other's place.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta

from schemas.participant import Json
from services.shadow.soc_filter import CAPACITY, CHARGE, DISCHARGE, PARAMETERS, Residual, effect_of, value_at

CHANGES: Mapping[str, float] = {CHARGE: 0.05, DISCHARGE: 0.05, CAPACITY: 0.10}
"""Relative change of each parameter that is to be found."""
MONTHS_BETWEEN_FALSE_ALARMS = 10.0
"""Of one device, at least, in the mean."""
MONTH = timedelta(days=30)
MEMORY = timedelta(days=7)
"""Time in which a residual's weight in the estimates falls to 1/e."""
CONFIDENT = 1.96
"""Standard deviations of a 95 % interval."""
ALIKE = math.log(100.0)
"""Logarithm of a likelihood ratio below which two parameters explain the residuals alike."""


@dataclass
class Evidence:
    """Sums from which the best effect of each parameter follows: Σ g r / S and Σ g² / S."""

    fit: dict[str, float] = field(default_factory=lambda: dict.fromkeys(PARAMETERS, 0.0))
    information: dict[str, float] = field(default_factory=lambda: dict.fromkeys(PARAMETERS, 0.0))

    def add(self, residual: Residual, keep: float = 1.0) -> None:
        """``keep``: weight of what was before."""
        for name, sensitivity in residual.sensitivities.items():
            self.fit[name] = keep * self.fit[name] + sensitivity * residual.value / residual.variance
            self.information[name] = keep * self.information[name] + sensitivity**2 / residual.variance

    def effect(self, parameter: str) -> float | None:
        """The most likely effect, if all else is as described; None: nothing is known."""
        information = self.information[parameter]
        return self.fit[parameter] / information if information > 0 else None

    def likelihood(self, parameter: str) -> float:
        """Logarithm of the likelihood ratio of that effect to none."""
        information = self.information[parameter]
        return self.fit[parameter] ** 2 / (2.0 * information) if information > 0 else 0.0

    def interval(self, parameter: str, described: float) -> tuple[float, float, float] | None:
        """Value of the parameter, and the bounds of its 95 % interval."""
        effect, information = self.effect(parameter), self.information[parameter]
        if effect is None:
            return None
        half = CONFIDENT / math.sqrt(information)
        bounds = [value_at(parameter, described, each) for each in (effect - half, effect, effect + half)]
        return bounds[1], min(bounds), max(bounds)


@dataclass
class _Cusum:
    """One alternative: ``parameter`` is ``ratio`` times the described one."""

    parameter: str
    ratio: float
    sum: float = 0.0
    evidence: Evidence = field(default_factory=Evidence)
    """Since the sum was last 0."""

    def add(self, residual: Residual) -> None:
        gained = log_likelihood_ratio(residual, self.parameter, effect_of(self.parameter, self.ratio))
        self.evidence.add(residual)
        self.sum += gained
        if self.sum <= 0.0:
            self.clear()

    def clear(self) -> None:
        self.sum, self.evidence = 0.0, Evidence()


def log_likelihood_ratio(residual: Residual, parameter: str, effect: float) -> float:
    """Of a residual, with the effect to without."""
    mean = residual.sensitivities[parameter] * effect
    return mean * (residual.value - mean / 2.0) / residual.variance


@dataclass(frozen=True, slots=True)
class Parted:
    """The device is not as described: in ``parameter``, or in one of ``or_in`` that explains the residuals alike."""

    parameter: str
    effect: float
    or_in: tuple[str, ...] = ()

    @property
    def candidates(self) -> tuple[str, ...]:
        """The parameters that it may be."""
        return (self.parameter, *self.or_in)

    @property
    def ratio(self) -> float:
        """The parameter's value over the described one."""
        return value_at(self.parameter, 1.0, self.effect)


class PartingTest:
    """Fed with residuals, one an interval of ``interval``."""

    def __init__(self, interval: timedelta) -> None:
        self.interval = interval
        self._cusums = [_Cusum(name, 1.0 + sign * change) for name, change in CHANGES.items() for sign in (-1.0, 1.0)]
        self._bound = math.log(len(self._cusums) * MONTHS_BETWEEN_FALSE_ALARMS * (MONTH / interval))
        self._keep = math.exp(-(interval / MEMORY))
        self.evidence = Evidence()
        """Of the last days, for estimates."""
        self.parted: Parted | None = None
        self._since = Evidence()
        """While it is parted: since that began."""
        self._sound = dict.fromkeys(PARAMETERS, 0.0)
        """While it is parted: by candidate, the CUSUM of the description against it."""

    def add(self, residual: Residual) -> None:
        """Takes a residual; ``parted`` says how it stands then."""
        self.evidence.add(residual, self._keep)
        if self.parted is None:
            self._look_for_parting(residual)
        else:
            self._look_for_end(residual, self.parted)

    def _look_for_parting(self, residual: Residual) -> None:
        for cusum in self._cusums:
            cusum.add(residual)
        worst = max(self._cusums, key=lambda each: each.sum)
        if worst.sum <= self._bound:
            return
        self.parted, self._since = _named(worst.evidence), worst.evidence
        # Where another parameter explains it, by a deviation within its tolerance, only this alternative begins anew.
        for cusum in [worst] if self.parted is None else self._cusums:
            cusum.clear()

    def _look_for_end(self, residual: Residual, parted: Parted) -> None:
        self._since.add(residual)
        for name in PARAMETERS:
            # Half of the change is the border, as on the way there.
            ratio = value_at(name, 1.0, self._since.effect(name) or 0.0)
            effect = effect_of(name, 1.0 + math.copysign(CHANGES[name], ratio - 1.0))
            self._sound[name] = max(0.0, self._sound[name] - log_likelihood_ratio(residual, name, effect))
        if min(self._sound[name] for name in parted.candidates) > self._bound:
            self.parted, self._since = None, Evidence()
            self._sound = dict.fromkeys(PARAMETERS, 0.0)
        else:
            self.parted = self._better_known(parted)

    def _better_known(self, parted: Parted) -> Parted:
        """The parting by all that is known since it began. What was told apart once stays so, and parameters that
        explain it alike keep their order, until one of them is far likelier than those named."""
        found = _named(self._since)
        if found is not None and not set(parted.candidates) <= set(found.candidates):
            return found
        return replace(parted, effect=self._since.effect(parted.parameter) or 0.0)

    def snapshot(self) -> Json:
        parted = self.parted
        return {
            "evidence": _evidence_to_json(self.evidence),
            "cusums": [[each.sum, _evidence_to_json(each.evidence)] for each in self._cusums],
            "parted": None if parted is None else [parted.parameter, parted.effect, list(parted.or_in)],
            "since": _evidence_to_json(self._since),
            "sound": self._sound,
        }

    def restore(self, state: Json) -> None:
        self.evidence, self._since = _evidence_from_json(state["evidence"]), _evidence_from_json(state["since"])
        for cusum, (value, evidence) in zip(self._cusums, state["cusums"], strict=True):
            cusum.sum, cusum.evidence = value, _evidence_from_json(evidence)
        parted = state["parted"]
        self.parted = None if parted is None else Parted(parted[0], parted[1], tuple(parted[2]))
        self._sound = dict(state["sound"])


def _named(evidence: Evidence) -> Parted | None:
    """The parameter that explains the evidence best; None: by a deviation within the tolerance."""
    name = max(PARAMETERS, key=evidence.likelihood)
    best = evidence.likelihood(name)
    alike = [each for each in PARAMETERS if each != name and best - evidence.likelihood(each) < ALIKE]
    found = Parted(name, evidence.effect(name) or 0.0, tuple(alike))
    return found if abs(found.ratio - 1.0) >= CHANGES[name] / 2.0 else None


def _evidence_to_json(evidence: Evidence) -> Json:
    return [evidence.fit, evidence.information]


def _evidence_from_json(state: Json) -> Evidence:
    return Evidence(dict(state[0]), dict(state[1]))
