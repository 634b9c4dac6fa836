"""Shapley values: what each member of a team adds on average over all orders in which the team could be put together.

For a worth v of every coalition S of the players N, with v(∅) = 0:

    φ_i = Σ_{S ⊆ N∖{i}} |S|! (|N| − |S| − 1)! / |N|! · (v(S ∪ {i}) − v(S))

They add up to v(N); a player that changes nothing gets 0, and two that change the same get the same (Shapley 1953).
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from math import factorial

import numpy as np
from numpy.typing import NDArray

Coalition = frozenset[str]
Worth = NDArray[np.float64]
"""Worths that are shared side by side, such as those of mechanisms and days; their shape is the caller's."""


def coalitions(players: Sequence[str]) -> Iterator[Coalition]:
    """All of them, the empty one first and all players together last."""
    for size in range(len(players) + 1):
        for chosen in itertools.combinations(players, size):
            yield frozenset(chosen)


def shapley_values(players: Sequence[str], worth: Mapping[Coalition, Worth]) -> dict[str, Worth]:
    """Each player's value, by name. ``worth`` is that of all `coalitions`."""
    count = len(players)
    values = {}
    for player in players:
        others = [other for other in players if other != player]
        value = np.zeros_like(worth[frozenset()])
        for without in coalitions(others):
            weight = factorial(len(without)) * factorial(count - len(without) - 1) / factorial(count)
            value = value + weight * (worth[without | {player}] - worth[without])
        values[player] = value
    return values
