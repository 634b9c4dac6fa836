"""The attribution as tables, and what has to be known to read them."""

from typing import TYPE_CHECKING

from services.analysis.summary import local, number
from twinswarm.attribution.attribute import Attribution, Share
from twinswarm.attribution.interval import LEAST_DAYS, LEVEL, Interval
from twinswarm.attribution.mechanisms import MECHANISMS, PEAK, STORED
from twinswarm.study.variant_words import baseline_words

if TYPE_CHECKING:
    from rich.table import Table

_LEAST_EUR = 0.005
"""A mechanism in which nobody has as much is not shown."""
_MOST_CARS = 30
"""More are in the JSON only."""


def shown_mechanisms(found: Attribution) -> list[str]:
    """Those that are there."""
    everybody = (found.total, *found.shares)
    return [name for name in MECHANISMS if any(abs(share.by_mechanism[name]) >= _LEAST_EUR for share in everybody)]


def share_table(found: Attribution) -> "Table":
    """A row for each player and their sum."""
    zone, course = found.site.location.time_zone, found.course
    period = f"{local(course.t0, zone)} to {local(course.t_end, zone)}"
    table = _table(f"{found.site.site}, {period}: savings by device and mechanism [€]")
    mechanisms = shown_mechanisms(found)
    has_interval, has_wear = found.total.energy_interval is not None, bool(found.total.wear_eur)
    for head in ("saved", *(name.replace(" ", "\n", 1) for name in mechanisms)):
        table.add_column(head, justify="right", no_wrap=True)
    if has_interval:
        table.add_column(f"{100 * LEVEL:.0f} %, without\npeak", justify="right", no_wrap=True)
    if has_wear:
        table.add_column("wear\n(beside)", justify="right", no_wrap=True)
    has_aged = found.total.calendar_wear_eur is not None
    if has_aged:
        table.add_column("calendar wear\n(beside)", justify="right", no_wrap=True)
    for share in (*found.shares, found.total):
        if share is found.total:
            table.add_section()
        parts = [number(share.by_mechanism[name]) for name in mechanisms]
        bounds = [interval_text(share.energy_interval)] if has_interval else []
        wears = [number(share.wear_eur)] * has_wear + [number(share.calendar_wear_eur)] * has_aged
        table.add_row(share.name, number(share.saved_eur), *parts, *bounds, *wears)
    return table


def interval_text(interval: Interval | None) -> str:
    """Both bounds."""
    return "" if interval is None else f"{number(interval.low_eur)} … {number(interval.high_eur)}"


def car_table(found: Attribution) -> "Table | None":
    """A row for each car at a charger, and the rest of each charger's share. None without cars."""
    if not found.cars:
        return None
    table = _table("Statement of each car")
    table.add_column("car", no_wrap=True)
    heads = ("visits", "in\nkWh", "out\nkWh", "baseline's\nin, kWh", "cost\n€", "baseline's\ncost, €", "saved\n€")
    has_aged = any(car.calendar_wear_eur is not None for car in found.cars)
    for head in (*heads, "wear\n€", *["calendar\nwear, €"] * has_aged, "earned\n€"):
        table.add_column(head, justify="right", no_wrap=True)
    by_earning = sorted(found.cars, key=lambda car: car.earned_eur, reverse=True)
    for car in [car for car in found.cars if car in by_earning[:_MOST_CARS]]:
        energies = (car.charged_kwh, car.discharged_kwh, car.baseline_charged_kwh)
        wears = (car.wear_eur, *[car.calendar_wear_eur] * has_aged)
        money = (car.cost_eur, car.baseline_cost_eur, car.saved_eur, *wears, car.earned_eur)
        numbers = (*(number(value, 1) for value in energies), *(number(value) for value in money))
        table.add_row(car.charger, car.vehicle, str(car.visits), *numbers)
    table.add_section()
    for player in found.players:
        rest = found.rest_eur(player)
        if rest is not None:
            table.add_row(player.name, "the rest of its share", *[""] * 6, number(rest), "", "", *[""] * has_aged)
    return table


def notes(found: Attribution) -> list[str]:
    """What the numbers rest on."""
    said = [
        f"Baseline: {baseline_words(found.site, found.reference)}; {number(found.baseline_cost_eur)} € with the demand "
        "charge.",
        f"Shapley values over all {len(found.worth_eur)} combinations of {len(found.players)} players: what each adds "
        "on average over all orders. Rows and columns add up.",
    ]
    said += [
        f"{player.name} is one player: {', '.join(player.devices)} (--most-players)."
        for player in found.players
        if len(player.devices) > 1
    ]
    if STORED in shown_mechanisms(found):
        said.append("Left in batteries: energy bought, at the mean purchase price, and still there at the end.")
    if PEAK in shown_mechanisms(found):
        said.append("Peak: demand charge of each month that the time touches, on its highest settlement period here.")
    if found.total.energy_interval is None:
        said.append(f"No interval: it needs {LEAST_DAYS} days.")
    else:
        said.append(
            f"Interval: what {found.days} days of this kind save in the mean, by days drawn again with their loads "
            "and charging sessions; without the demand charge, which hangs on a single settlement period."
        )
    if found.cars:
        price = found.site.vehicle_wear_eur_per_kwh
        wear = f"{number(100 * price, 1)} ct per kWh out" if price else "without a price"
        said.append(
            "Cars: each kWh, here and in the baseline, at the price between the two of its time: the PCC's, on the way "
            "from one to the other. The rest is peak, losses, and what a charger changes for the other devices. "
            f"Wear: {wear}; beside the savings."
        )
        if len(found.cars) > _MOST_CARS:
            said.append(f"The {_MOST_CARS} cars that earned most; all {len(found.cars)} are in --json.")
    if found.total.calendar_wear_eur is not None:
        said.append(
            "Calendar wear: of BESS and plugged vehicles by SOC and time, less what vehicles have in the baseline."
        )
    if abs(found.shortfall_kwh) >= 0.05:
        said.append(f"Leaving vehicles lacked {number(found.shortfall_kwh, 1)} kWh more than in the baseline.")
    return said


def sentence(share: Share) -> str:
    """A share in words."""
    return f"{share.name}: {number(share.saved_eur)} € saved."


def _table(title: str) -> "Table":
    from rich.table import Table

    table = Table(title=title, title_style="bold", title_justify="left")
    table.add_column("", no_wrap=True)
    return table
