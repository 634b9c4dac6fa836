"""What ghosts earn against the same devices really there: the same day in lock-step, without and with them."""

from collections.abc import Sequence

import pytest

from schemas.site import Site
from services.analysis.result import analyse
from services.history.memory import MemoryHistory
from sites.loader import load_site
from tests.ghosts.hall import IDEAL, RUN, hall, live
from twinswarm.simulation.ghosts_over_history import ghosts_over

CHARGERS = ("ev1", "ev2", "ev3", "ev4")


def cost_eur(history: MemoryHistory) -> float:
    return analyse(history, RUN, history, RUN, "itself", 0.0).cost_eur


def without(site: Site, names: Sequence[str]) -> Site:
    return site.model_copy(
        update={"devices": {name: device for name, device in site.devices.items() if name not in names}}
    )


def both(site: Site, names: Sequence[str]) -> tuple[float, float]:
    """What these devices save of the day's energy cost [€]: as ghosts by their account, and as real ones."""
    bare = without(site, names)
    described = bare.model_copy(
        update={"ghosts": {name: site.devices[name].model_copy(update={"node": None}) for name in names}}
    )
    record = live(bare)
    total = list(ghosts_over(record, RUN, described))[-1].total
    assert total.real.energy_eur == pytest.approx(cost_eur(record), abs=1e-9)
    return total.real.energy_eur - total.ghosts.energy_eur, cost_eur(record) - cost_eur(live(site))


def test_alone_beside_a_known_load_they_earn_the_same() -> None:
    site = hall({})
    ghost_eur, real_eur = both(site.model_copy(update={"devices": {**site.devices, "newbess": IDEAL}}), ["newbess"])
    assert (ghost_eur, real_eur) == pytest.approx((4.0, 4.0), abs=1e-6)


def test_a_battery_beside_load_and_pv_earns_what_a_real_one_does_but_for_cables_and_dead_time() -> None:
    """2.58 € and 2.57 €. The real one has a cable with losses, and its set-points come 30 s later."""
    ghost_eur, real_eur = both(without(load_site("fit_g2v"), CHARGERS), ["bess"])
    assert real_eur > 2.0
    assert ghost_eur == pytest.approx(real_eur, rel=0.01)


def test_four_chargers_beside_load_and_pv_save_what_real_ones_do_but_for_cables_and_dead_time() -> None:
    """Beside a real battery: 3.73 € and 3.62 € less than without any, by V2G."""
    ghost_eur, real_eur = both(load_site("fit_g2v"), CHARGERS)
    assert real_eur > 3.0
    assert ghost_eur == pytest.approx(real_eur, rel=0.05)


def test_a_battery_beside_chargers_that_are_planned_without_it_earns_less_than_one_that_is_planned_with_them() -> None:
    """0.48 € and 0.83 €: the real EMS would move what the cars do, too, and a ghost cannot."""
    ghost_eur, real_eur = both(load_site("fit_g2v"), ["bess"])
    assert 0.4 < ghost_eur < real_eur < ghost_eur + 0.4
