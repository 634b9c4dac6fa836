"""The forecast: load, available PV power, and the sessions that are expected at the chargers."""

from collections.abc import Callable
from datetime import datetime

from schemas.messages import ExpectedChargingSession, Quantity, Series, ValueSeries
from schemas.site import Charger, Pv, PvSource, Site, TimeProfile
from schemas.site.references import profiles_of_source
from schemas.topics import Kind
from services.forecast.daily import DailySeries
from services.forecast.window import Window

PvPower = Callable[[Site, PvSource, float], Callable[[datetime], float]]
"""(site, source, AC rating [kW]) to available power [kW] at a time; constant within each step or quarter-hour."""


class Forecast(DailySeries):
    """Publishes on ``forecast/forecast/series``: ``load_kw`` per load meter, ``temp_outdoor_c`` and ``heat_demand_kw``
    per heat pump, ``pv_kw`` per inverter, sessions.

    What a profile says is the device's (``forecast_profile``, …); PV its inverter's ``forecast`` source, computed by
    ``pv_power``, for services do not import the plant; a session's departure is the one that its driver announces. Of
    a session no more is known in advance than what its vehicle will report.
    """

    def __init__(self, site: Site, pv_power: PvPower) -> None:
        super().__init__(site, Kind.FORECAST, "forecast")
        inverters = [(name, device) for name, device in sorted(site.devices.items()) if isinstance(device, Pv)]
        self._forecasts = {name: device.forecast for name, device in inverters}
        self._pv = {name: pv_power(site, device.forecast, device.rated_kw) for name, device in inverters}

    def _series(self, window: Window) -> Series:
        return Series(
            series=(*self._profiles(window), *self._pv_powers(window)), charging_sessions=self._sessions(window)
        )

    def _is_by_profile(self, device: str) -> bool:
        """Whether load or PV of a device are what the site says."""
        del device
        return True

    def _profiles(self, window: Window) -> list[ValueSeries]:
        """What devices expect by profile: load, outdoor temperature, heat."""
        found = []
        for name, device in sorted(self._site.devices.items()):
            for quantity, expected in device.expected if self._is_by_profile(name) else ():
                known = window.profile(self._site.profiles[expected])
                if known is not None:
                    start, values = known
                    found.append(
                        ValueSeries(quantity=quantity, device=name, start=start, step_s=window.step_s, values=values)
                    )
        return found

    def _pv_powers(self, window: Window) -> list[ValueSeries]:
        found = []
        for name, power in self._pv.items():
            known = self._known(self._forecasts[name], window) if self._is_by_profile(name) else None
            if known is not None:
                values = known.means(power)
                found.append(
                    ValueSeries(
                        quantity=Quantity.PV, device=name, start=known.start, step_s=known.step_s, values=values
                    )
                )
        return found

    def _known(self, source: PvSource, window: Window) -> Window | None:
        """The part of the window that every profile of the source covers."""
        known: Window | None = window
        for _, name in profiles_of_source("", source):
            profile = self._site.profiles[name]
            if known is not None and isinstance(profile, TimeProfile):
                known = known.within(profile.begin, profile.end)
        return known

    def _sessions(self, window: Window) -> tuple[ExpectedChargingSession, ...]:
        return tuple(
            ExpectedChargingSession(
                charger=name, arrival=session.arrival, **session.said(device.reports, device.charge_efficiency)
            )
            for name, device in sorted(self._site.devices.items())
            if isinstance(device, Charger)
            for session in device.sessions_between(window.start, window.end, self._site.zone)
        )
