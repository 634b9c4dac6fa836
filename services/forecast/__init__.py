"""The expected future as retained series: load, PV, charging sessions and prices."""

from services.forecast.forecast import Forecast
from services.forecast.tariff import Tariff

__all__ = ["Forecast", "Tariff"]
