"""earnings: what devices that do not exist yet would have earned beside the real meter."""

from typing import Annotated

from pydantic import Field

from schemas.messages.stamp import Body, DeviceId
from schemas.units import Kw, Kwh, SocFrac, UtcTime

Hours = Annotated[float, Field(ge=0, le=1e9)]
Eur = Annotated[float, Field(ge=-1e12, le=1e12)]


class GhostDevice(Body):
    """A device that does not exist, at ``until`` of its message."""

    power_kw: Kw
    """Mean of the last interval."""
    energy_import_kwh: Kwh
    """Since ``since``, as ``energy_export_kwh``."""
    energy_export_kwh: Kwh
    soc_frac: SocFrac | None = None
    """Left out: nothing is plugged."""
    cycles: Annotated[float, Field(ge=0)] | None = None
    """Full cycles of a BESS since ``since``: half of the energy into and out of its cells, by its capacity."""
    missing_kwh: Kwh | None = None
    """What vehicles lacked when they left, since ``since``. Left out for a BESS."""


class PccCost(Body):
    """Energy, cost and peak at the PCC of one of the compared sites."""

    import_kwh: Kwh = 0.0
    export_kwh: Kwh = 0.0
    energy_eur: Eur = 0.0
    """Imports at the purchase price minus exports at the sale price."""
    peak_kw: Kw = 0.0
    """Highest mean import of a settlement quarter that has ended."""
    demand_eur: Eur | None = None
    """Demand charge on it; of a month alone. Left out: the tariff has none."""
    over_limit_kwh: Kwh = 0.0
    """Energy above what the connection allows."""


class GhostBill(Body):
    """The real site beside the same site with its ghosts, over one span of time."""

    hours: Hours = 0.0
    """Time that is accounted for."""
    estimated_hours: Hours = 0.0
    """The part of it in which the real meter's energy is an estimate."""
    unpriced_hours: Hours = 0.0
    """The part of it without prices, which is in no cost."""
    real: PccCost = PccCost()
    """As the real meter measured it."""
    ghosts: PccCost = PccCost()
    """The same with all ghosts."""
    unmanaged: PccCost | None = None
    """The same with the ghosts' vehicles, charged on arrival, and nothing else. Left out: there is no ghost charger."""
    earned_eur: Eur = 0.0
    """``energy_eur`` of ``unmanaged``, or of ``real`` where that is left out, minus that of ``ghosts``."""
    earned_demand_eur: Eur | None = None
    """The same of the demand charge; of a month alone."""
    wear_eur: Eur | None = None
    """Wear of the ghosts' batteries and vehicles by throughput, in no other value. Left out: it has no price."""


class Earnings(Body):
    """Account of the ghosts from ``since`` until ``until``. Retained."""

    since: UtcTime
    until: UtcTime
    interval_s: Annotated[float, Field(ge=0, le=1e9)]
    """The last interval, which ends at ``until``."""
    real_kw: Kw
    """Mean power at the real PCC in it."""
    ghosts_kw: Kw
    """With all ghosts."""
    unmanaged_kw: Kw | None = None
    devices: Annotated[dict[DeviceId, GhostDevice], Field(max_length=2000)]
    date: Annotated[str, Field(pattern=r"^\d{4}-\d{2}-\d{2}$")]
    """Local day of the last interval, as of ``day`` and ``month``."""
    day: GhostBill
    month: GhostBill
    total: GhostBill
    """Since ``since``."""
    stored_kwh: float
    """What the ghosts' BESSs hold more than at ``since``; it is in no cost."""
    degraded: Annotated[tuple[Annotated[str, Field(max_length=500)], ...], Field(max_length=20, strict=False)] = ()
    """Why this is less sure than usual; empty: nothing is."""
