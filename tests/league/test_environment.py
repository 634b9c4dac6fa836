"""The Gymnasium environment: what Gymnasium demands, rewards that are the league's score, a day like any other run."""

import threading
from collections.abc import Mapping
from datetime import date
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from schemas.errors import Code
from schemas.site import Site
from schemas.topics import Channel
from services.ems.problem import Problem
from tests.errors import raises
from tests.league.test_league import site
from tests.twins import builders
from twinswarm.gym import BuildingEnv
from twinswarm.league.perfect import perfect_eur
from twinswarm.league.score import play, score_of
from twinswarm.simulation.in_memory import run_in_memory
from twinswarm.simulation.runs import local_course
from twinswarm.study.day import kept


@pytest.fixture
def env() -> Any:
    made = BuildingEnv(site(), ahead=12)
    yield made
    made.close()


def lived(env: BuildingEnv, seed: int, draw: Any = None) -> tuple[list[float], list[np.ndarray], dict[str, Any]]:
    """Rewards and actions of a day with actions at random, and the last step's info."""
    env.reset(seed=seed)
    env.action_space.seed(seed)
    rewards, actions = [], []
    while True:
        action = env.action_space.sample()
        _, reward, terminated, truncated, info = env.step(action)
        assert not truncated
        rewards.append(reward)
        actions.append(action)
        if terminated:
            return rewards, actions, info


class Again:
    """The actions of an episode as an algorithm."""

    def __init__(self, env: BuildingEnv, actions: list[np.ndarray]) -> None:
        self._stores, self._actions = env.stores, iter(actions)

    def __call__(self, problem: Problem) -> Mapping[str, float]:
        return self._stores.set_points(problem, next(self._actions))


@pytest.mark.filterwarnings("ignore:.*A Box observation space")
def test_it_is_an_environment_as_gymnasium_demands() -> None:
    made = gymnasium.make("twinswarm.gym:twinswarm/Building-v0", site=site(), ahead=8)
    check_env(made.unwrapped)
    made.close()


def test_the_rewards_of_a_day_are_the_score_of_the_league(env: BuildingEnv) -> None:
    rewards, actions, info = lived(env, 7)
    assert len(rewards) == 96
    assert info["score"].short_kwh > 0, "the vehicles of this day were discharged"
    chosen, messages = env.site, []
    course = local_course(chosen)

    def receive(received: Any) -> None:
        if kept(received) or received.topic.channel is Channel.SETPOINT:
            messages.append(received)

    run = run_in_memory(chosen, course, None, on_message=receive, algorithm=Again(env, actions))
    score = score_of("again", chosen, course, run, messages)
    assert score.pcc_kw == info["score"].pcc_kw, "the same day, to the last bit"
    assert sum(rewards) == pytest.approx(-score.score_eur, abs=1e-9)


def test_each_reward_is_the_money_of_its_step(env: BuildingEnv) -> None:
    rewards, _, info = lived(env, 2)
    score = info["score"]
    prices = zip(score.purchase_eur_per_kwh, score.sale_eur_per_kwh, strict=True)
    money = [kw / 4 * (buy if kw > 0 else sell) for kw, (buy, sell) in zip(score.pcc_kw, prices, strict=True)]
    quiet = [step for step in range(95) if abs(rewards[step] + money[step]) < 0.02 * abs(money[step]) + 1e-3]
    assert len(quiet) > 85, "all but those in which a vehicle left, or import and export met within the step"
    assert min(rewards) == pytest.approx(-5.0 * score.short_kwh, rel=0.5), "and the vehicles that left"


def test_perfect_foresight_is_above_every_agent_at_random() -> None:
    @settings(max_examples=6, deadline=None, suppress_health_check=list(HealthCheck))
    @given(
        seed=st.integers(0, 10_000),
        capacity_kwh=st.floats(5.0, 80.0),
        efficiency=st.floats(0.8, 1.0),
        dear=st.floats(0.0, 1.0),
        target=st.floats(0.3, 1.0),
    )
    def check(seed: int, capacity_kwh: float, efficiency: float, dear: float, target: float) -> None:
        profiles = {
            "price": {"type": "day", "values": [0.05, dear, -0.02, 0.2]},
            "base": {"type": "day", "values": [4.0, 9.0]},
        }
        bess = builders.bess(capacity_kwh=capacity_kwh, charge_efficiency=efficiency)
        stay = builders.stay(departure=builders.at("16:00"), target_soc_frac=target)
        devices = {
            "bess": bess,
            "ev": builders.charger(sessions=[stay]),
            "load": {"kind": "meter", "profile": "base"},
        }
        made = BuildingEnv(builders.site(devices, profiles=profiles), ahead=4)
        rewards, _, info = lived(made, seed)
        course = local_course(made.site)
        truth = play("uncontrolled", made.site, course)
        bound = perfect_eur(made.site, course, [truth, info["score"]])
        assert -sum(rewards) >= bound - 1e-9
        assert truth.score_eur >= bound - 1e-9

    check()


def test_a_seed_chooses_the_day_and_the_same_seed_the_same_one() -> None:
    days = ["2018-05-14", "2018-05-18"]
    made = BuildingEnv("carpark", days=days, ahead=4)
    seen = [made.reset(seed=seed)[1]["day"] for seed in range(5)]
    assert set(seen) == set(days)
    assert seen == [made.reset(seed=seed)[1]["day"] for seed in range(5)]
    assert made.reset(options={"day": date(2018, 5, 18)})[1]["day"] == "2018-05-18"
    with raises(Code.UNKNOWN, "options: day"):
        made.reset(options={"day": "2018-05-15"})
    made.close()


def test_a_day_that_is_left_leaves_nothing_behind(env: BuildingEnv) -> None:
    before = threading.active_count()
    for _ in range(3):
        env.reset(seed=1)
        env.step(env.action_space.sample())
    env.close()
    assert threading.active_count() == before
    with pytest.raises(gymnasium.error.ResetNeeded):
        env.step(env.action_space.sample())


def test_what_is_no_action_is_refused_and_what_is_too_much_is_clipped(env: BuildingEnv) -> None:
    env.reset(seed=1)
    with raises(Code.FORMAT, "action"):
        env.step(np.full(env.action_space.shape, np.nan, np.float32))
    _, too_much, *_ = env.step(np.full(env.action_space.shape, 7.0, np.float32))
    env.reset(seed=1)
    _, full, *_ = env.step(np.ones(env.action_space.shape, np.float32))
    assert too_much == full


def test_sites_and_days_that_are_none_are_refused() -> None:
    nothing: Site = builders.site({"load": {"kind": "meter", "profile": "base"}})
    with raises(Code.EMPTY, "SITE"):
        BuildingEnv(nothing)
    with raises(Code.FORMAT, "days"):
        BuildingEnv(site(), days=["tomorrow"])
    with raises(Code.RANGE, "ahead"):
        BuildingEnv(site(), ahead=0)
