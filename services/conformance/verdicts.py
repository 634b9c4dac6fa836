"""The result of an examination: for each clause whether it holds, by which evidence."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from schemas.clauses import Clause

EVIDENCE_MOST = 5
"""So many failures of one clause are kept."""


class Outcome(StrEnum):
    PASS = "pass"  # noqa: S105 - an outcome
    FAIL = "fail"
    NOT_JUDGED = "not judged"


@dataclass
class Verdicts:
    """Collects what is seen. One failure is a failure of the clause, however often it held."""

    failures: dict[Clause, list[str]] = field(default_factory=dict)
    held: set[Clause] = field(default_factory=set)
    reasons: dict[Clause, str] = field(default_factory=dict)
    """Why a clause was not judged."""

    def fail(self, clause: Clause, evidence: str) -> None:
        known = self.failures.setdefault(clause, [])
        if len(known) < EVIDENCE_MOST and evidence not in known:
            known.append(evidence)

    def hold(self, clause: Clause) -> None:
        self.held.add(clause)

    def judge(self, clause: Clause, evidence: str | None) -> bool:
        """``evidence`` None: it holds. Returns whether it does."""
        if evidence is None:
            self.hold(clause)
            return True
        self.fail(clause, evidence)
        return False

    def skip(self, clause: Clause, reason: str) -> None:
        self.reasons.setdefault(clause, reason)

    def outcome(self, clause: Clause) -> Outcome:
        if clause in self.failures:
            return Outcome.FAIL
        return Outcome.PASS if clause in self.held else Outcome.NOT_JUDGED

    def evidence(self, clause: Clause) -> tuple[str, ...]:
        """What was seen of a failure, or why nothing was."""
        if clause in self.failures:
            return tuple(self.failures[clause])
        return () if clause in self.held else (self.reasons.get(clause, "the examination ended before it"),)

    @property
    def passed(self) -> bool:
        return not self.failures

    @property
    def outcomes(self) -> Mapping[Clause, Outcome]:
        return {clause: self.outcome(clause) for clause in Clause}
