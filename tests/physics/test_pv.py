"""PV power against pvlib's own chain of models."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pvlib
from pytest import approx

from twin_devices.physics import pv

PLACE = pv.Place(45.0, 8.0, 200.0)
PLANE = pv.Plane(30.0, 180.0)
DAY = [datetime(2018, 5, 17, tzinfo=UTC) + timedelta(minutes=15 * i + 7.5) for i in range(96)]


def test_a_clear_day_equals_pvlibs_model_chain() -> None:
    location = pvlib.location.Location(45.0, 8.0, tz="UTC", altitude=200.0)
    system = pvlib.pvsystem.PVSystem(
        arrays=[
            pvlib.pvsystem.Array(
                pvlib.pvsystem.FixedMount(30.0, 180.0),
                albedo=0.2,
                module_parameters={"pdc0": 100.0, "gamma_pdc": -0.004},
                temperature_model_parameters={"u0": 25.0, "u1": 6.84},
            )
        ],
        inverter_parameters={"pdc0": 80.0 / 0.96, "eta_inv_nom": 0.96},
    )
    chain = pvlib.modelchain.ModelChain(
        system,
        location,
        dc_model="pvwatts",
        ac_model="pvwatts",
        aoi_model="no_loss",
        spectral_model="no_loss",
        temperature_model="faiman",
        transposition_model="haydavies",
    )
    index = pd.DatetimeIndex(DAY)
    weather = location.get_clearsky(index)
    # pvlib's chain takes the air's temperature for the refraction, too; ours the 12 °C that pvlib else assumes.
    weather["temp_air"], weather["wind_speed"] = 12.0, 1.0
    expected = chain.run_model(weather).results.ac.fillna(0.0).clip(lower=0.0)
    ours = pv.ac_power_kw(pv.clear_sky(PLACE, DAY), PLANE, [12.0] * 96, 100.0, 0.0, 80.0)
    assert ours == approx(list(expected), abs=1e-9)
    assert 60 < max(ours) <= 80


def test_an_inverter_cuts_off_at_its_rating() -> None:
    ours = pv.ac_power_kw(pv.clear_sky(PLACE, DAY), PLANE, [15.0] * 96, 100.0, 0.14, 40.0)
    assert max(ours) == 40.0
    assert min(ours) == 0.0


def test_a_clear_sky_that_is_measured_gives_about_what_the_model_gives() -> None:
    # Splitting the clear sky's global irradiance again (Erbs) loses a few percent of the beam, not more.
    sky = pv.clear_sky(PLACE, DAY)
    modelled = sum(pv.ac_power_kw(sky, PLANE, [15.0] * 96, 100.0, 0.14, 100.0))
    measured_sky = pv.measured_sky(PLACE, DAY, list(sky.ghi))
    measured = sum(pv.ac_power_kw(measured_sky, PLANE, [15.0] * 96, 100.0, 0.14, 100.0))
    assert measured == approx(modelled, rel=0.06)


def test_no_light_no_power() -> None:
    sky = pv.measured_sky(PLACE, DAY, [0.0] * 96)
    assert not np.any(pv.ac_power_kw(sky, PLANE, [15.0] * 96, 100.0, 0.14, 100.0))
