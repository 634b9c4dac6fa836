"""Algorithms that try to get below perfect foresight, and some that are none."""

from collections.abc import Mapping

from schemas.site import Site
from services.ems.problem import Problem


def drain(problem: Problem) -> Mapping[str, float]:
    """Sells whatever is in store."""
    stores = [*problem.bess, *problem.chargers]
    return {unit.device: -unit.max_discharge_kw for unit in stores}


class Overfill:
    """Charges every store to the brim, whoever it belongs to."""

    def __init__(self, site: Site) -> None:
        self.name = site.site

    def __call__(self, problem: Problem) -> Mapping[str, float]:
        return {unit.device: unit.max_charge_kw for unit in [*problem.bess, *problem.chargers]}


class NeedsMore:
    """It is not made with a site alone."""

    def __init__(self, site: Site, tank: float) -> None: ...


class NotCallable:
    def __init__(self, site: Site) -> None: ...
