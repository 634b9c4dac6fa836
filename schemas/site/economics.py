"""What the parts of a site cost, for the question which of them pay."""

from typing import Annotated

from pydantic import Field

from schemas.site.base import SitePart

Money = Annotated[float, Field(ge=0, le=1e7)]
Share = Annotated[float, Field(ge=0, le=1)]


class Economics(SitePart):
    """Investments [€], before subsidies, and how they are discounted. What has no price is not sized."""

    lifetime_years: Annotated[int, Field(ge=1, le=60)] = 15
    """Over which the savings count; nothing is left of the value at its end."""
    discount_rate_frac: Annotated[float, Field(gt=-0.5, le=1)] = 0.04
    """Yearly, real if prices are those of today."""
    subsidy_frac: Share = 0.0
    """Part of every investment that another pays."""
    upkeep_frac: Share = 0.0
    """Yearly, of the investment before subsidies."""
    bess_eur: Money = 0.0
    """Once, for a BESS of any size."""
    bess_eur_per_kwh: Money | None = None
    bess_eur_per_kw: Money = 0.0
    v2g_charger_eur: Money | None = None
    """Of each bidirectional charger, beyond one that only charges at once."""
    smart_charger_eur: Money | None = None
    """Of each controllable one-way charger, likewise."""
    pv_eur_per_kw: Money | None = None
    """Of rated power beyond the site's own."""
    connection_eur_per_kw: Money | None = None
    """Of import power beyond the site's own; a smaller connection gives nothing back."""
    connection_eur_per_kw_year: Money = 0.0
    """Yearly, of the connection's import power."""
    car_wear_eur_per_kwh: Annotated[float, Field(ge=0, le=10)] = 0.0
    """Paid for each kWh that is taken from vehicles. That of the BESS is `ems.bess_wear_eur_per_kwh`."""
