"""What the real site is expected to draw, by the plan of its EMS."""

from schemas.messages import EmsMode, Plan, Quantity, ValueSeries
from schemas.site import REAL_SITE, Pv, Site


def expected_load(plan: Plan, site: Site) -> ValueSeries | None:
    """Power at the real PCC [kW] over the plan's window, as a load; None: the plan says nothing of it.

    An EMS that controls carries out what it plans. Of one that does not, what it would do with storage and cars does
    not count, only load and PV.
    """
    if plan.mode is EmsMode.CONTROL:
        values = plan.pcc_kw
    elif plan.load_kw is None:
        values = None
    else:
        inverters = [
            each.power_kw for name, each in sorted(plan.devices.items()) if isinstance(site.devices.get(name), Pv)
        ]
        values = tuple(map(sum, zip(plan.load_kw, *inverters, strict=False)))
    if not values:
        return None
    return ValueSeries(quantity=Quantity.LOAD, device=REAL_SITE, start=plan.start, step_s=plan.step_s, values=values)
