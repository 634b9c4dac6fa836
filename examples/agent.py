"""An agent of stable-baselines3 learns the days of a site, and takes part in the league.

    pip install 'twinswarm[all,gym]' stable-baselines3
    python examples/agent.py fit_g2v 15360
    twinswarm league fit_g2v --ems ours --ems examples/agent.py:Agent

The first command writes agent.zip into the working folder, the second one reads it there. What is learned is a policy
of the observation alone; the league's problem becomes the same observation.
"""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from gymnasium.wrappers import FlattenObservation, TransformObservation
from stable_baselines3 import PPO

import twinswarm
from twinswarm.gym import BuildingEnv
from twinswarm.league.spaces import Stores

AHEAD = 16
SHORTFALL_EUR_PER_KWH = 5.0
KEPT = Path("agent.zip")
SCALES = {
    "purchase_eur_per_kwh": 5.0,
    "sale_eur_per_kwh": 5.0,
    "load_kw": 0.02,
    "pv_kw": 0.02,
    "missing_kwh": 0.05,
    "usable_kwh": 0.05,
    "hours_left": 0.1,
}
"""To numbers near 1, as networks like them."""


class Promised(gymnasium.Wrapper):
    """Rewards a missing kWh when it is charged, and not when the vehicle leaves: the sum over a day is the same."""

    def reset(self, **options: Any) -> Any:
        seen, info = self.env.reset(**options)
        self._owed = missing_eur(seen)
        return seen, info

    def step(self, action: Any) -> Any:
        seen, reward, terminated, truncated, info = self.env.step(action)
        owed = 0.0 if terminated else missing_eur(seen)
        reward, self._owed = float(reward) + self._owed - owed, owed
        return seen, reward, terminated, truncated, info


def missing_eur(seen: Mapping[str, Any]) -> float:
    return SHORTFALL_EUR_PER_KWH * float(np.sum(seen.get("missing_kwh", 0.0)))


def scaled(seen: Mapping[str, Any]) -> dict[str, Any]:
    return {name: (values * SCALES.get(name, 1.0)).astype(np.float32) for name, values in seen.items()}


def learnable(site: str) -> gymnasium.Env:
    env = Promised(BuildingEnv(site, ahead=AHEAD))
    return FlattenObservation(TransformObservation(env, scaled, env.observation_space))


class Agent:
    """The policy that was kept, as an algorithm of the league."""

    def __init__(self, site: twinswarm.Site) -> None:
        self._site, self._stores = site, Stores.of(site)
        self._space = self._stores.observation_space(AHEAD)
        self._policy = PPO.load(KEPT, device="cpu")

    def __call__(self, problem: twinswarm.Problem) -> Mapping[str, float]:
        local = problem.start.astimezone(self._site.zone)
        seen = scaled(self._stores.observation(problem, local.hour * 3600 + local.minute * 60 + local.second, AHEAD))
        action, _ = self._policy.predict(gymnasium.spaces.flatten(self._space, seen), deterministic=True)
        return self._stores.set_points(problem, action)


if __name__ == "__main__":
    env = learnable(sys.argv[1])
    agent = PPO(
        "MlpPolicy",
        env,
        seed=1,
        device="cpu",
        n_steps=4 * 96,
        batch_size=96,
        learning_rate=1e-3,
        policy_kwargs={"log_std_init": -0.7},
        verbose=1,
    )
    agent.learn(int(sys.argv[2]))
    agent.save(KEPT)
