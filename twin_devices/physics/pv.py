"""PV power from the sun's position and the sky, by pvlib."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd
import pvlib

GAMMA_PDC_PER_K = -0.004
"""Loss of DC power per kelvin of the cell above 25 °C: crystalline silicon, within PVWatts' -0.0047 to -0.002."""

INVERTER_EFFICIENCY = 0.96
"""Nominal efficiency of PVWatts' inverter (Dobos 2014, NREL/TP-6A20-62641)."""

ALBEDO = 0.2
"""Urban ground; PVWatts' default."""

WIND_M_PER_S = 1.0
"""pvlib's default of the Faiman model: light wind at module height."""


@dataclass(frozen=True, slots=True)
class Place:
    latitude_deg: float
    longitude_deg: float
    altitude_m: float


@dataclass(frozen=True, slots=True)
class Plane:
    """Orientation of the modules: tilt from the horizontal, azimuth clockwise from north."""

    tilt_deg: float
    azimuth_deg: float


@dataclass(frozen=True, slots=True)
class Sky:
    """Solar position and irradiance [W/m²] at each instant. Fields are pandas Series of one index."""

    solar_zenith_deg: Any
    solar_azimuth_deg: Any
    ghi: Any
    dni: Any
    dhi: Any
    dni_extra: Any


def clear_sky(place: Place, times: Sequence[datetime]) -> Sky:
    """The cloudless sky.

    Notes
    -----
    Ineichen and Perez (2002) with Linke turbidity from the SoDa climatology that comes with pvlib.
    """
    location = pvlib.location.Location(place.latitude_deg, place.longitude_deg, tz="UTC", altitude=place.altitude_m)
    index = pd.DatetimeIndex(times)
    position = location.get_solarposition(index)
    irradiance = location.get_clearsky(index, model="ineichen", solar_position=position)
    return Sky(
        solar_zenith_deg=position["apparent_zenith"],
        solar_azimuth_deg=position["azimuth"],
        ghi=irradiance["ghi"],
        dni=irradiance["dni"],
        dhi=irradiance["dhi"],
        dni_extra=pvlib.irradiance.get_extra_radiation(index),
    )


def measured_sky(place: Place, times: Sequence[datetime], ghi_w_per_m2: Sequence[float]) -> Sky:
    """A sky of which the global horizontal irradiance is known.

    Notes
    -----
    Split into beam and diffuse by Erbs, Klein and Duffie (1982). The beam is at most the extraterrestrial one; what is
    beyond, when the sun is low or a cloud's edge adds to it, is diffuse.
    """
    location = pvlib.location.Location(place.latitude_deg, place.longitude_deg, tz="UTC", altitude=place.altitude_m)
    index = pd.DatetimeIndex(times)
    position = location.get_solarposition(index)
    extra = pvlib.irradiance.get_extra_radiation(index)
    ghi = pd.Series(np.asarray(ghi_w_per_m2, dtype=float), index=index)
    parts = pvlib.irradiance.erbs(ghi, position["zenith"], index)
    above = parts["dni"] > extra
    dhi = parts["dhi"].where(~above, ghi - extra * np.cos(np.radians(position["zenith"])))
    return Sky(
        solar_zenith_deg=position["apparent_zenith"],
        solar_azimuth_deg=position["azimuth"],
        ghi=ghi,
        dni=parts["dni"].where(~above, extra),
        dhi=dhi,
        dni_extra=extra,
    )


def sky_of(
    place: Place,
    times: Sequence[datetime],
    ghi_w_per_m2: Sequence[float],
    dni_w_per_m2: Sequence[float],
    dhi_w_per_m2: Sequence[float],
) -> Sky:
    """A sky of which global, direct normal and diffuse irradiance are known."""
    location = pvlib.location.Location(place.latitude_deg, place.longitude_deg, tz="UTC", altitude=place.altitude_m)
    index = pd.DatetimeIndex(times)
    position = location.get_solarposition(index)
    ghi, dni, dhi = (
        pd.Series(np.asarray(values, dtype=float), index=index) for values in (ghi_w_per_m2, dni_w_per_m2, dhi_w_per_m2)
    )
    return Sky(
        solar_zenith_deg=position["apparent_zenith"],
        solar_azimuth_deg=position["azimuth"],
        ghi=ghi,
        dni=dni,
        dhi=dhi,
        dni_extra=pvlib.irradiance.get_extra_radiation(index),
    )


def ac_power_kw(
    sky: Sky,
    plane: Plane,
    temp_air_c: Sequence[float],
    peak_kw: float,
    system_losses_frac: float,
    rated_kw: float,
) -> list[float]:
    """AC power [kW] of a generator of ``peak_kw`` (DC, standard test conditions) behind an inverter of ``rated_kw``.

    Notes
    -----
    Transposition by Hay and Davies (1980), cell temperature by Faiman (2008), DC and AC power by PVWatts version 5
    (Dobos 2014), system losses taken off the DC side, never above the inverter's rating, never below 0.
    """
    plane_of_array = pvlib.irradiance.get_total_irradiance(
        plane.tilt_deg,
        plane.azimuth_deg,
        sky.solar_zenith_deg,
        sky.solar_azimuth_deg,
        sky.dni,
        sky.ghi,
        sky.dhi,
        dni_extra=sky.dni_extra,
        albedo=ALBEDO,
        model="haydavies",
    )["poa_global"].fillna(0.0)
    air = pd.Series(np.asarray(temp_air_c, dtype=float), index=plane_of_array.index)
    cell = pvlib.temperature.faiman(plane_of_array, air, WIND_M_PER_S)
    dc_kw = pvlib.pvsystem.pvwatts_dc(plane_of_array, cell, peak_kw, GAMMA_PDC_PER_K) * (1.0 - system_losses_frac)
    ac_kw = pvlib.inverter.pvwatts(dc_kw.clip(lower=0.0), rated_kw / INVERTER_EFFICIENCY, INVERTER_EFFICIENCY)
    # To a microwatt: sine and exponential differ in their last digit from processor to processor, and a day with them.
    return [round(float(value), 9) for value in np.clip(ac_kw.fillna(0.0).to_numpy(), 0.0, rated_kw)]
