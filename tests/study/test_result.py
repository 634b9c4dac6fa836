"""Table, signs, factors and ranges by hand calculation."""

import math

import pytest

from twinswarm.simulation.variants import StorageChoice
from twinswarm.study.day import Day
from twinswarm.study.orders import Key
from twinswarm.study.published import PSF_CASE, STORAGES, published
from twinswarm.study.result import table_of, tie_ranges
from twinswarm.study.tables import change


def day(cost_eur: float, pcc_kw: tuple[float, ...] = (10.0, 10.0)) -> Day:
    zeros = (0.0,) * len(pcc_kw)
    return Day(
        cost_eur=cost_eur,
        import_kwh=0.0,
        export_kwh=0.0,
        losses_kwh=0.0,
        times=(),
        pcc_kw=pcc_kw,
        load_kw=zeros,
        pv_kw=zeros,
        bess_kw=zeros,
        cars_kw=zeros,
        losses_kw=zeros,
        bess_soc_frac=(),
        cars_soc_frac=(),
        purchase_eur_per_kwh=zeros,
        sale_eur_per_kwh=zeros,
        bess_stored_kwh=0.0,
        cars_stored_kwh=0.0,
        bess_end_soc_frac={},
        cars_discharged_kwh=0.0,
        departure_shortfall_kwh=0.0,
        statuses={"optimal": 96},
    )


def days_of_case_6(bess_eur: float) -> dict[Key, Day]:
    return {
        Key("6", StorageChoice.NONE): day(100.0, (10.0, -5.0, 0.4, 1.0)),
        Key("6", StorageChoice.BESS): day(bess_eur, (8.0, -5.0, 9.0, 3.0)),
        Key("6", StorageChoice.V2G): day(100.0 - 6.94),
        Key("6", StorageChoice.BOTH): day(100.0 - 7.73),
    } | {Key("6", s): day(100.0 + published()["6"].change_eur_per_day[s], (10.0,) * 4) for s in STORAGES[1:]}


def test_the_published_table_is_that_of_the_paper() -> None:
    """Table II of doi 10.1109/sest61601.2024.10694561: its extremes, and the factors of case 6."""
    changes = [case.change_eur_per_day[storage] for case in published().values() for storage in STORAGES]
    assert len(changes) == 18
    assert (min(changes), max(changes)) == (-7.73, 0.94)
    assert sum(value > 0 for value in changes) == 3
    assert list(published()[PSF_CASE].psf.values()) == [0.922, 0.819, 0.796]


def test_a_cell_has_the_sign_of_the_paper_so_money_saved_is_negative() -> None:
    table = table_of(days_of_case_6(98.0), ["6"])
    cell = table.cell("6", StorageChoice.BESS)
    assert cell is not None
    assert cell.change_eur_per_day == -2.0
    assert cell.sign_matches


def test_rmse_is_over_the_published_cells() -> None:
    # BESS is 0.42 off, the other two are as published: sqrt(0.42² / 3).
    table = table_of(days_of_case_6(98.0), ["6"])
    assert table.rmse_eur_per_day == pytest.approx(math.sqrt(0.42**2 / 3), abs=1e-12)
    assert (table.signs_matched, table.signs) == (3, 3)


def test_a_loss_where_the_paper_saves_is_a_sign_that_does_not_match() -> None:
    table = table_of(days_of_case_6(100.5), ["6"])
    assert (table.signs_matched, table.signs) == (2, 3)


def test_factors_leave_out_small_references_by_either_threshold() -> None:
    # Ratios 0.8, 1, and 3 where the reference is 1 kW; 0.4 kW is below both thresholds.
    cell = table_of(days_of_case_6(98.0), ["6"]).cell("6", StorageChoice.BESS)
    assert cell is not None
    assert cell.psf.psf == pytest.approx((0.8 + 1 + 3) / 3)
    assert cell.psf_2kw.psf == pytest.approx(0.9)
    assert (cell.psf.excluded, cell.psf_2kw.excluded) == (1, 2)


def test_the_range_spans_the_sites_own_tie_break_and_the_others() -> None:
    days = days_of_case_6(98.0)
    days[Key("6", StorageChoice.BESS, "no tie-break")] = day(98.1, (6.0, -5.0, 9.0, 3.0))
    found = tie_ranges(days)[StorageChoice.BESS]
    assert found.span == pytest.approx(((0.6 + 1 + 3) / 3, (0.8 + 1 + 3) / 3))
    assert found.cost_eur_by_tie == pytest.approx({"no tie-break": 0.1})


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.5, "+0.50"), (-0.5, "\N{MINUS SIGN}0.50"), (0.001, "0.00"), (None, "\N{EN DASH}")],
)
def test_changes_are_told_with_their_sign(value: float | None, text: str) -> None:
    assert change(value) == text
