"""A league: its contestants' scores beside perfect foresight, in order, with a digest of the table."""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from schemas.cycle import Course
from schemas.errors import Code, InputError
from schemas.site import Site
from twinswarm.league.contestants import NAMES, UNCONTROLLED, entry_of, shown
from twinswarm.league.perfect import perfect_eur
from twinswarm.league.plant import check
from twinswarm.league.score import Score, play
from twinswarm.study.pool import in_workers


@dataclass(frozen=True, slots=True)
class League:
    """Scores from the best to the worst."""

    site: Site
    course: Course
    scores: tuple[Score, ...]
    perfect_eur: float
    """The score of perfect foresight, which none can be below."""

    def regret_eur(self, score: Score) -> float:
        """What a contestant's score is above perfect foresight [€]."""
        return score.score_eur - self.perfect_eur

    def to_json(self) -> dict[str, Any]:
        """Floats as they are; ``sha256`` is that of everything else, so that two machines can be compared."""
        table = {
            "site": self.site.site,
            "start": self.course.t0.isoformat(),
            "end": self.course.t_end.isoformat(),
            "perfect_foresight_eur": self.perfect_eur,
            "contestants": [score.to_json() | {"regret_eur": self.regret_eur(score)} for score in self.scores],
        }
        return table | {"sha256": hashlib.sha256(json.dumps(table, sort_keys=True).encode()).hexdigest()}


def play_league(
    site: Site,
    course: Course,
    names: Sequence[str] = NAMES,
    processes: int | None = None,
    on_played: Callable[[str], None] = lambda _: None,
) -> League:
    """Every contestant lives through the course. ``uncontrolled`` always does: it measures the truth.

    ``processes`` None: one per core; 1: this one. The result does not depend on it. Raises TwinswarmError.
    """
    check(site)
    wanted = (UNCONTROLLED, *(name for name in names if name != UNCONTROLLED))
    titles = [shown(name) for name in wanted]
    if doubled := [title for title in titles if titles.count(title) > 1]:
        raise InputError.one("--ems", "a contestant takes part once", doubled[0], code=Code.CONFLICT)
    for name in wanted:
        entry_of(name, site)  # a name that is wrong is said before hours of work
    scores = [*in_workers(play, {name: (name, site, course) for name in wanted}, processes, on_played).values()]
    bound = perfect_eur(site, course, scores)
    return League(site, course, tuple(sorted(scores, key=lambda score: (score.score_eur, score.name))), bound)
