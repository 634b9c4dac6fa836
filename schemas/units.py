"""Units and signs of every number on the wire. The one place where the sign convention is written.

**Sign.** Positive power is drawn from the building's bus, for every device: a charging battery, a charging
vehicle and a load are positive; a producing PV inverter and a discharging vehicle are negative. One exception:
the meter with role ``pcc`` (point of common coupling) is positive on import from the grid, so that

    p_pcc = sum of the power of all devices + losses of the site's network.

**Registers.** ``energy_import_kwh`` counts energy drawn from the bus (positive power), ``energy_export_kwh`` energy
delivered to it; both only grow. At the PCC import is from, export is to the grid.

**Units.** kW, kvar, kWh, V, °C, €/kWh; state of charge (SOC) as a fraction 0..1; times in UTC with their zone. Heat is
in kW and kWh of fields whose name says heat. Every
field carries its unit in its name. Floats travel at full precision (shortest representation that reads back equal).
"""

import re
from datetime import UTC, date, datetime
from typing import Annotated, Any

from pydantic import AfterValidator, AwareDatetime, BeforeValidator, Field

TIME_PATTERN = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]+)?)?(Z|[+-][0-9]{2}:?[0-9]{2})$"
"""A point in time as text: date, time, zone (RFC 3339; seconds may be left out)."""

_time = re.compile(TIME_PATTERN.removeprefix("^").removesuffix("$"))


def _from_text(value: Any) -> Any:
    # Pydantic alone would also take a number in quotes, as seconds since 1970.
    if not isinstance(value, str):
        return value
    try:
        return datetime.fromisoformat(value if _time.fullmatch(value) else "")
    except ValueError:
        raise ValueError(f"{value[:40]!r} is not a time with its zone, such as 2024-05-17T09:00:00Z") from None


def _to_utc(value: datetime) -> datetime:
    # Histories count nanoseconds since 1970 in 64 bits; sums with times at the calendar's end would overflow, too.
    if not 1970 < value.year < 2261:
        raise ValueError(f"{value.isoformat()} is not between the years 1971 and 2260")
    return value if value.tzinfo is UTC else value.astimezone(UTC)


FIRST_DAY, LAST_DAY = date(1972, 1, 1), date(2249, 12, 31)
"""The days on which a run may begin: with it, a decade and what is looked at around it all times are a `UtcTime`."""


def _day_of_a_run(value: date) -> date:
    if not FIRST_DAY <= value <= LAST_DAY:
        raise ValueError(f"{value} is not between {FIRST_DAY} and {LAST_DAY}")
    return value


RunDate = Annotated[date, AfterValidator(_day_of_a_run)]
"""The local day on which a run begins."""

UtcTime = Annotated[AwareDatetime, BeforeValidator(_from_text), AfterValidator(_to_utc)]
"""A point in time with its zone, kept in UTC, of the years 1971 to 2260. A time without a zone is refused."""

MOST_KW = 1e6
"""Greatest magnitude of a power [kW]."""

Kw = Annotated[float, Field(ge=-MOST_KW, le=MOST_KW)]
"""Active power [kW] with the sign of this module; 1 GW bounds a typing error."""

PositiveKw = Annotated[float, Field(ge=0, le=MOST_KW)]
"""A magnitude of power, a rating or a limit [kW]."""

Kwh = Annotated[float, Field(ge=0, le=1e12)]
"""An energy or a register [kWh]."""

RampRate = Annotated[float, Field(gt=0, le=1e6)]
"""Greatest rate at which a power moves [kW/s]."""

SocFrac = Annotated[float, Field(ge=0, le=1)]
"""State of charge as a fraction of the nameplate capacity."""

Efficiency = Annotated[float, Field(gt=0, le=1)]
"""One-way conversion efficiency as a fraction."""

TempC = Annotated[float, Field(ge=-80, le=80)]
"""An outdoor temperature [°C]."""

EurPerKwh = Annotated[float, Field(ge=-100, le=100)]
"""A price of energy [€/kWh]; negative prices exist."""

Seconds = Annotated[float, Field(ge=0, le=86_400)]
"""A duration [s] within a day."""
