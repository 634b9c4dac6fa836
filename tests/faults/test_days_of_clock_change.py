"""Both days on which the clocks change: 92 and 100 quarter-hours, no hole, and no hour that counts twice."""

import itertools
from contextlib import closing
from datetime import date, timedelta
from pathlib import Path

import pytest

from schemas.site import Site
from services.history.sqlite import SqliteHistory
from sites.loader import load_site
from tests.system.days import order_of
from twinswarm.simulation.pipeline import conduct_in_memory


def on(day: date) -> Site:
    return load_site("fit_g2v").model_copy(update={"date": day})


@pytest.mark.parametrize(("day", "quarters"), [(date(2024, 3, 31), 92), (date(2024, 10, 27), 100)])
def test_a_day_on_which_the_clocks_change_is_planned_commanded_and_settled_whole(
    day: date, quarters: int, tmp_path: Path
) -> None:
    order = order_of(tmp_path, site=on(day))
    result = conduct_in_memory(order)
    assert result.complete
    assert result.energy_residual_kwh_max is not None
    assert result.energy_residual_kwh_max <= 1e-9
    assert order.course.t_end - order.course.t0 == timedelta(minutes=15) * quarters
    with closing(SqliteHistory(order.history)) as history:
        starts = [plan.start for _, plan in history.plans(result.run)]
    assert len(starts) == quarters
    assert {later - earlier for earlier, later in itertools.pairwise(starts)} == {timedelta(minutes=15)}
