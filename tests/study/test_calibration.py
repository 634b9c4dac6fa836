"""Parameters reach what their paths name; a calibration that was stopped goes on where it was."""

import os
from pathlib import Path

import pytest

from schemas.errors import Code, InputError
from schemas.site import Charger
from sites.description import SiteDescription
from sites.loader import load_description
from tests.errors import raises
from twinswarm.simulation.variants import Reference
from twinswarm.study.calibration.fit import Fitted, calibrate
from twinswarm.study.calibration.state import Point, State
from twinswarm.study.calibration.target import Fitting, How, Parameter, Target, cost_of, read_target

SHIPPED = Path(__file__).parents[2] / "twinswarm" / "study" / "calibration"


@pytest.fixture(scope="module")
def site() -> SiteDescription:
    return load_description("fit_g2v")


def parameter(how: How, *paths: str, hours: tuple[float, float] | None = None) -> Parameter:
    return Parameter(name="p", how=how, paths=paths, start=1.0, least=0.5, most=2.0, hours=hours)


def test_a_scale_group_reaches_every_charger(site: SiteDescription) -> None:
    scaled = Fitting(site, (parameter(How.SCALE, "devices.{charger}.max_charge_kw"),)).with_values([2.0])
    found = {device.max_charge_kw for device in scaled.devices.values() if isinstance(device, Charger)}
    assert found == {2 * 22.5}
    assert scaled.devices["bess"] == site.devices["bess"]


def test_a_path_leads_into_lists(site: SiteDescription) -> None:
    fitting = Fitting(site, (parameter(How.SET, "devices.ev1.daily.*.arrival_soc_frac"),))
    charger = fitting.with_values([0.6]).devices["ev1"]
    assert isinstance(charger, Charger)
    assert charger.daily[0].arrival_soc_frac == 0.6


def test_hours_choose_the_steps_of_a_day(site: SiteDescription) -> None:
    fitting = Fitting(site, (parameter(How.SHIFT, "profiles.load_measured.values", hours=(9.0, 9.5)),))
    before, after = site.profiles["load_measured"].values, fitting.with_values([1.5]).profiles["load_measured"].values
    moved = [place for place, (a, b) in enumerate(zip(before, after, strict=True)) if a != b]
    assert moved == [36, 37]
    assert after[36] == before[36] + 1.5


def test_values_that_change_nothing_give_the_same_site(site: SiteDescription) -> None:
    fitting = Fitting(site, (parameter(How.SCALE, "profiles.price_italian.values"),))
    assert fitting.with_values([1.0]) == site


@pytest.mark.parametrize("path", ["devices.ev9.max_charge_kw", "devices.{heatpump}.power", "profiles.load.values"])
def test_a_path_that_leads_nowhere_is_named(site: SiteDescription, path: str) -> None:
    with raises(Code.UNKNOWN, "parameter p"):
        Fitting(site, (parameter(How.SCALE, path),)).with_values([1.0])


def test_a_path_to_something_else_than_numbers_is_refused(site: SiteDescription) -> None:
    with raises(Code.CONFLICT):
        Fitting(site, (parameter(How.SCALE, "devices.ev1.kind"),)).with_values([1.0])


def test_a_site_that_is_none_any_more_is_refused(site: SiteDescription) -> None:
    with raises(Code.INVALID, "soc_max_frac"):
        Fitting(site, (parameter(How.SET, "devices.{bess}.initial_soc_frac"),)).with_values([0.99])


def test_bounds_that_make_no_site_are_told_before_a_point_is_looked_at(site: SiteDescription) -> None:
    soc = Parameter(
        name="soc", how=How.SET, paths=("devices.{bess}.initial_soc_frac",), start=0.5, least=0.01, most=0.99
    )
    with pytest.raises(InputError) as error:
        Fitting(site, (soc,)).check_bounds()
    assert [fault.where.split(":")[0] for fault in error.value.faults] == [
        "parameter soc at its least, 0.01",
        "parameter soc at its most, 0.99",
    ]


def test_a_target_that_never_ends_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "long.toml").write_bytes(b"#" * (2**20 + 1))
    for file, code in (
        ("/dev/zero", "unreadable"),
        (tmp_path / "pipe", "unreadable"),
        (tmp_path / "long.toml", "range"),
    ):
        with pytest.raises(InputError) as caught:
            read_target(Path(file))
        assert caught.value.codes == (code,)


def test_every_fault_of_a_target_is_told_at_once(tmp_path: Path) -> None:
    file = tmp_path / "target.toml"
    file.write_text(
        'reference = "clever"\n[[parameter]]\nname = "x"\nhow = "scale"\npaths = []\nstart = 3\nleast = 0\nmost = 1\n'
    )
    with pytest.raises(InputError) as error:
        read_target(file)
    assert len(error.value.faults) >= 2


def test_the_site_in_the_box_lies_within_the_bounds_of_the_calibration_that_made_it(site: SiteDescription) -> None:
    target, began = read_target(SHIPPED / "smart.toml"), load_description(SHIPPED / "prototype")
    assert target.reference is Reference.SMART
    start = [one.start for one in target.parameter]
    assert Fitting(began, target.parameter).with_values(start).model_dump() == began.model_dump()
    least = Fitting(began, target.parameter).with_values([one.least for one in target.parameter])
    most = Fitting(began, target.parameter).with_values([one.most for one in target.parameter])
    # Numbers of the site in the box are rounded as on a data sheet.
    for name, profile in site.profiles.items():
        bounds = zip(least.profiles[name].values, profile.values, most.profiles[name].values, strict=True)
        digits = 4 if name.startswith("price") else 2
        assert all(round(low, digits) <= here <= round(high, digits) for low, here, high in bounds), name
    for device, number in (("ev1", "max_charge_kw"), ("ev1", "charge_efficiency"), ("bess", "max_charge_kw")):
        low, here, high = (getattr(each.devices[device], number) for each in (least, site, most))
        assert low < here < high, (device, number)
    assert site.network == began.network
    assert site.ems == began.ems
    assert site.cases == began.cases


def one_case(site: SiteDescription) -> SiteDescription:
    return site.model_copy(update={"cases": {"6": site.cases["6"]}})


TARGET = Target(
    reference=Reference.SMART,
    parameter=(
        Parameter(name="pv", how=How.SCALE, paths=("profiles.pv_clear.values",), start=1.0, least=0.9, most=1.1),
    ),
)


@pytest.fixture(scope="module")
def stopped(site: SiteDescription, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Fitted]:
    """One parameter, one case, three points: the start, its difference, and one step."""
    file = tmp_path_factory.mktemp("calibration") / "state.json"
    small = one_case(site)
    return file, calibrate(small, TARGET, State.open(file, small, TARGET), most_points=3)


def test_a_parameter_is_held_by_its_part_of_the_way_to_its_bound() -> None:
    held = TARGET.model_copy(update={"pull": 0.5})
    assert held.held([1.0]) == [0.0]
    assert held.held([1.1]) == pytest.approx([0.5])
    assert held.held([0.95]) == pytest.approx([-0.25])
    assert TARGET.held([1.1]) == []


def test_a_calibration_is_never_worse_than_its_start(stopped: tuple[Path, Fitted]) -> None:
    _, fitted = stopped
    assert fitted.points == 3
    assert cost_of(fitted.best.residuals) <= cost_of(fitted.start.residuals)
    assert fitted.start.values == [1.0]
    assert fitted.jacobian is not None
    assert fitted.jacobian.shape == (3 + 3, 1)


def test_it_goes_on_through_the_points_that_are_known(site: SiteDescription, stopped: tuple[Path, Fitted]) -> None:
    file, before = stopped
    small = one_case(site)
    new: list[Point] = []
    again = calibrate(
        small, TARGET, State.open(file, small, TARGET), most_points=3, on_point=lambda point, _: new.append(point)
    )
    assert new == []
    assert again.best == before.best


def test_a_state_of_another_target_is_refused(site: SiteDescription, stopped: tuple[Path, Fitted]) -> None:
    file, _ = stopped
    other = TARGET.model_copy(update={"scale_psf": 0.01})
    with raises(Code.FOREIGN):
        State.open(file, one_case(site), other)
