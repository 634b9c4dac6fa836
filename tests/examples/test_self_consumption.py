"""The example on self-consumption: without a battery by hand, and that a battery only adds."""

from datetime import date

import numpy as np
import pytest

from examples.self_consumption import YIELD_KWH_PER_KW, building, lived


@pytest.mark.slow
def test_self_consumption_without_a_battery_is_that_of_the_two_series_and_a_battery_adds_to_it() -> None:
    """Two days in May. Of equal means of a quarter-hour the smaller one is used here."""
    result = lived(building("office"), 2, date(2018, 5, 16))
    none, half, whole = result.variants
    pv, load = none.series["pv_kw"], none.series["load_kw"]
    assert none.total.self_consumption_frac == pytest.approx(np.minimum(pv, load).sum() / pv.sum(), abs=1e-6)
    used = [variant.total.pv_used_kwh for variant in result.variants]
    assert used == sorted(used)
    assert half.total.pv_kwh == pytest.approx(none.total.pv_kwh)
    # A battery takes in a day at most what it holds, and what its losses take.
    size = 5000 / YIELD_KWH_PER_KW
    assert 0 < used[1] - used[0] <= 2 * 0.5 * size / 0.9
    assert 0 < whole.total.pv_used_kwh - used[0] <= 2 * 1.0 * size / 0.9
