"""`gymnasium.make("twinswarm.gym:twinswarm/Building-v0")`: importing this registers the environment.

Needs the extra ``gym``. docs/league.md has an example.
"""

import gymnasium

from twinswarm.league.environment import BuildingEnv

__all__ = ["BuildingEnv"]

gymnasium.register("twinswarm/Building-v0", entry_point="twinswarm.league.environment:BuildingEnv")
