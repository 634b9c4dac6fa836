"""Days of a site as a Gymnasium environment: an agent decides each step, and is rewarded by the league's score.

The day is that of `twinswarm run`, in memory, with all participants: the agent stands in the place of the optimiser.
docs/league.md describes observation, action and reward.
"""

import threading
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from schemas.cycle import Course
from schemas.errors import Code, InputError
from schemas.participant import Received
from schemas.site import Site
from schemas.topics import Channel
from services.ems.problem import Problem
from twinswarm.api import load_site
from twinswarm.league.ledger import Ledger
from twinswarm.league.plant import check
from twinswarm.league.score import Score, score_of
from twinswarm.league.spaces import AHEAD, Observation, Stores
from twinswarm.simulation.in_memory import run_in_memory
from twinswarm.simulation.runs import course_of
from twinswarm.study.day import kept


class BuildingEnv(gymnasium.Env[Any, Any]):
    """One local day after another.

    ``site``: a description as `twinswarm.load_site` takes it, or a site. ``days``: of which each reset chooses one by
    its seed; None: the site's own. ``ahead``: steps of prices and forecasts that an agent sees. Raises InputError for a
    site that a league refuses and for days that its profiles do not cover.
    """

    metadata: dict[str, Any] = {"render_modes": []}  # noqa: RUF012 - as Gymnasium has it

    def __init__(
        self, site: Site | str | Path = "fit_g2v", days: Sequence[date | str] | None = None, ahead: int = AHEAD
    ) -> None:
        if ahead < 1:
            raise InputError.one("ahead", "at least 1 step is allowed", ahead, code=Code.RANGE)
        self.site = site if isinstance(site, Site) else load_site(site)
        check(self.site)
        self.stores = Stores.of(self.site)
        self._courses = {day: course_of(self.site, day) for day in _dates(days) or (self.site.date,)}
        self._ahead = ahead
        self.action_space = self.stores.action_space()
        self.observation_space = self.stores.observation_space(ahead)
        self._day: _Day | None = None
        self._problem: Problem | None = None

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Begins a day. ``options``: ``{"day": date}`` takes that one of the environment's days."""
        super().reset(seed=seed)
        self.close()
        days = tuple(self._courses)
        day = days[int(self.np_random.integers(len(days)))]
        if options and "day" in options:
            (day,) = _dates([options["day"]])
            if day not in self._courses:
                what = f"{', '.join(map(str, days[:5]))}{' …' if len(days) > 5 else ''} is allowed"
                raise InputError.one("options: day", what, str(day), code=Code.UNKNOWN)
        self._day = _Day(self.site, self._courses[day])
        problem = self._day.next_problem()
        assert problem is not None, "a day has steps"
        self._problem = problem
        return self._observed(problem), {"day": str(day), "start": problem.start}

    def step(self, action: NDArray[np.float32]) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """A step of the site with this action. The last one of a day terminates.

        ``info`` has the step's ``energy_eur`` and ``short_eur``, at the end the day's ``score``, too.
        """
        day, problem = self._day, self._problem
        if day is None or problem is None:
            raise gymnasium.error.ResetNeeded("the day is over: call reset()")
        if not np.all(np.isfinite(action)):
            raise InputError.one("action", "numbers are allowed", str(action), code=Code.FORMAT)
        clipped = np.clip(np.asarray(action, np.float32), -1.0, 1.0)
        after = day.decide(self.stores.set_points(problem, clipped))
        energy_eur, short_eur = day.ledger.close(problem.purchase_eur_per_kwh[0], problem.sale_eur_per_kwh[0])
        info: dict[str, Any] = {"energy_eur": energy_eur, "short_eur": short_eur}
        if after is not None:
            self._problem = after
            return self._observed(after), -(energy_eur + short_eur), False, False, info
        score = day.score()
        self._day = self._problem = None
        return (
            self._observed(problem),
            -(energy_eur + short_eur + day.ledger.rest_eur(score)),
            True,
            False,
            info | {"score": score},
        )

    def close(self) -> None:
        """Leaves a day that is not over."""
        day, self._day, self._problem = self._day, None, None
        if day is not None:
            day.leave()

    def _observed(self, problem: Problem) -> Observation:
        local = problem.start.astimezone(self.site.zone)
        seconds = float(local.hour * 3600 + local.minute * 60 + local.second)
        return self.stores.observation(problem, seconds, self._ahead)


class _Left(BaseException):
    """The day was left before its end. No error: nothing on the way may take it for one."""


class _Day:
    """A run in a thread of its own that waits for each decision: the EMS asks for one in the middle of its turn."""

    def __init__(self, site: Site, course: Course) -> None:
        self._site, self._course = site, course
        self.ledger = Ledger(site, course)
        self._messages: list[Received] = []
        self._run = ""
        self._problems: SimpleQueue[Problem | BaseException | None] = SimpleQueue()
        """Then None when the run is over."""
        self._decisions: SimpleQueue[Mapping[str, float] | None] = SimpleQueue()
        """None: the day is left."""
        self._thread = threading.Thread(target=self._live, name="day", daemon=True)
        self._thread.start()

    def next_problem(self) -> Problem | None:
        """None: the day is over. Raises what the run raised."""
        found = self._problems.get()
        if isinstance(found, BaseException):
            raise found
        return found

    def decide(self, set_points: Mapping[str, float]) -> Problem | None:
        """Carries on to the next decision."""
        self._decisions.put(set_points)
        return self.next_problem()

    def leave(self) -> None:
        """Ends the run where it is."""
        self._decisions.put(None)
        self._thread.join()

    def score(self) -> Score:
        """The whole day, as a league scores it."""
        return score_of("agent", self._site, self._course, self._run, self._messages)

    def _live(self) -> None:
        try:
            self._run = run_in_memory(self._site, self._course, None, on_message=self._receive, algorithm=self._ask)
        except _Left:
            return
        except Exception as error:
            self._problems.put(error)
        else:
            self._problems.put(None)

    def _ask(self, problem: Problem) -> Mapping[str, float]:
        self._problems.put(problem)
        decision = self._decisions.get()
        if decision is None:
            raise _Left
        return decision

    def _receive(self, received: Received) -> None:
        self.ledger.receive(received)
        if kept(received) or received.topic.channel is Channel.SETPOINT:
            self._messages.append(received)


def _dates(days: Sequence[date | str] | None) -> tuple[date, ...]:
    try:
        return tuple(day if isinstance(day, date) else date.fromisoformat(day) for day in days or ())
    except (TypeError, ValueError) as error:
        raise InputError.one("days", "a date is written 2024-05-17", str(days), code=Code.FORMAT) from error
