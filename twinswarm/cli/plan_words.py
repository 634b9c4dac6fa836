"""What a plan commands, and why, in sentences."""

import itertools
from collections.abc import Iterator

from schemas.messages import DevicePlan, Plan, PlannedRequest, PlanStatus, SetpointCause, Shortfall
from schemas.site import Site
from twinswarm.cli.plan_tables import number

RESTS_KW = 0.005
"""Powers below this are shown as 0."""


def plan_sentences(plan: Plan, site: Site) -> Iterator[str]:
    """What energy costs now, then each device that is commanded, then what cannot be met."""
    when = f"{plan.start.astimezone(site.zone):%Y-%m-%d %H:%M}"
    if plan.status is PlanStatus.SAFE_RULE:
        yield f"At {when} there is no plan, so every device follows its fallback: {plan.reason}."
    if (price := _price(plan, when)) is not None:
        yield price
    commanded = {name: device for name, device in plan.devices.items() if device.cause is not None}
    absent = [name for name, device in commanded.items() if device.cause is SetpointCause.NO_VEHICLE]
    for name, device in commanded.items():
        if name not in absent:
            yield f"{name} {_action(device)}{_why(device, plan)}."
    if absent:
        yield f"{', '.join(absent)}: no vehicle is plugged."
    for name, device in plan.devices.items():
        if device.left_to_fallback is not None:
            yield f"{name} follows its fallback: {device.left_to_fallback}."
    for name, request in (plan.requests or {}).items():
        yield _requested(name, request, site)
    for shortfall in plan.shortfalls:
        yield _missed(shortfall, site)


def _price(plan: Plan, when: str) -> str | None:
    bought, sold, pcc = plan.purchase_price_eur_per_kwh, plan.sale_price_eur_per_kwh, plan.pcc_kw
    if bought is None or sold is None or pcc is None:
        return None
    flow = "imports" if pcc[0] > RESTS_KW else "exports" if pcc[0] < -RESTS_KW else "neither imports nor exports"
    amount = f" {number(abs(pcc[0]), 1)} kW" if abs(pcc[0]) > RESTS_KW else ""
    text = f"At {when} the site {flow}{amount}; it buys at {_eur(bought[0])} and sells at {_eur(sold[0])}"
    if plan.energy_eur_per_kwh is None:
        return f"{text}."
    return f"{text}. Another kWh would cost it {_eur(plan.energy_eur_per_kwh[0])}."


def _action(device: DevicePlan) -> str:
    power = device.power_kw[0]
    if device.soc_frac is None and power <= 0:
        return f"produces {number(-power, 1)} kW"
    if abs(power) <= RESTS_KW:
        return "rests"
    phases = {1: " on one phase", 3: " on three phases"}.get(device.phases or 0, "")
    return f"{'draws' if power > 0 else 'gives back'} {number(abs(power), 1)} kW{phases}"


FIXED = {
    SetpointCause.PEAK: ", so that the month's highest import does not rise",
    SetpointCause.RESERVE: ": it is at the least SOC allowed",
    SetpointCause.FULL: ": it is at the highest SOC allowed",
    SetpointCause.CALENDAR_WEAR: ": it charges later, as it ages less while it is emptier",
    SetpointCause.CALM: ": another power would gain less than a change is to gain",
    SetpointCause.NO_METER: ": nobody measures the PCC",
    SetpointCause.REQUEST: "",
}
"""The end of a sentence whose words follow from the cause alone."""


def _why(device: DevicePlan, plan: Plan) -> str:
    if device.cause is SetpointCause.PV_SURPLUS:
        return f" of the PV surplus{_worth(device)}"
    if device.cause is SetpointCause.TARGET:
        return f" for its target{_at_the_end_of_its_stay(device)}"
    if device.cause is SetpointCause.LIMIT:
        return f" because of {LIMITS.get(device.element or '', f'the limit of {device.element}')}"
    if device.cause is SetpointCause.PREVIOUS_PLAN:
        return f", as the plan before said: {plan.reason}"
    if device.cause is SetpointCause.PRICE:
        return _for_the_price(device, plan)
    return "" if device.cause is None else FIXED[device.cause]


LIMITS = {"connection": "the limit of the connection", "pcc": "a limit from outside"}


def _for_the_price(device: DevicePlan, plan: Plan) -> str:
    power = device.power_kw[0]
    if device.soc_frac is None:
        price = (plan.energy_eur_per_kwh or (0.0,))[0]
        return ": another kWh would have a negative price" if price < 0 and power > -RESTS_KW else ""
    if abs(power) <= RESTS_KW:
        return f": neither charging nor discharging gains anything now{_worth(device)}"
    return f", while energy is {'cheap' if power > 0 else 'dear'}{_worth(device)}"


def _worth(device: DevicePlan) -> str:
    return "" if device.stored_eur_per_kwh is None else f" (a kWh in store is worth {_eur(device.stored_eur_per_kwh)})"


def _at_the_end_of_its_stay(device: DevicePlan) -> str:
    soc = device.soc_frac or ()
    stay = list(itertools.takewhile(lambda value: value is not None, soc))
    return f" ({number(100 * stay[-1], 0)} % at the end of its stay)" if stay and stay[-1] is not None else ""


def _requested(name: str, request: PlannedRequest, site: Site) -> str:
    until = f"{request.until.astimezone(site.zone):%Y-%m-%d %H:%M}"
    asked = f"{request.source} asks for {number(request.asked_kw, 1)} kW of {name} until {until}"
    if request.reason is None:
        return f"{asked}: the EMS does so, and decides again after it."
    done = "nothing" if request.planned_kw is None else f"{number(request.planned_kw, 1)} kW"
    return f"{asked}; it gets {done}: {request.reason}."


def _missed(shortfall: Shortfall, site: Site) -> str:
    what = shortfall.device or shortfall.element or "the connection"
    why = "" if shortfall.cause is None else f": {str(shortfall.cause).replace('_', ' ')}"
    kind = str(shortfall.kind).replace("_", " ")
    at = shortfall.at.astimezone(site.zone)
    return f"{what} misses {number(shortfall.kwh, 1)} kWh ({kind}) at {at:%H:%M}{why}."


def _eur(value: float) -> str:
    return f"{number(value, 4)} €/kWh"
