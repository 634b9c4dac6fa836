"""What is known or expected of the future, as retained series: load, PV and sessions; prices."""

from services.forecast.forecast import Forecast
from services.forecast.tariff import Tariff

__all__ = ["Forecast", "Tariff"]
