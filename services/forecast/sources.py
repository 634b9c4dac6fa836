"""The forecast of a site, by the kind that it names."""

from schemas.site import ForecastKind, Site
from services.forecast.forecast import Forecast, PvPower


def forecast_of(site: Site, pv_power: PvPower) -> Forecast:
    """The participant ``forecast``."""
    if site.forecast.kind is ForecastKind.PROFILE:
        return Forecast(site, pv_power)
    from services.forecast.online import OnlineForecast

    return OnlineForecast(site, pv_power)
