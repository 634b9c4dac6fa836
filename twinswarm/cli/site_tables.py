"""A site description, summed up."""

from typing import TYPE_CHECKING, Any

from schemas.site import (
    AnyDevice,
    Bess,
    Charger,
    DayProfile,
    HeatPump,
    Meter,
    PowerProfile,
    PriceRule,
    Profile,
    Pv,
    Site,
    Tariff,
)
from sites.description import SiteDescription

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table


def tell_site(site: SiteDescription, file: str, console: "Console") -> None:
    """Prints what the site has."""
    from rich.text import Text

    console.print(Text.assemble((f"{site.site} ", "bold"), f"is valid ({file})"), soft_wrap=True)
    if site.description:
        console.print(f"  {site.description}", markup=False, soft_wrap=True)
    place = site.location
    console.print(
        f"  latitude {place.latitude_deg}°, longitude {place.longitude_deg}°, {place.time_zone}; runs on {site.date} "
        f"in steps of {site.time.step_s} s\n"
        f"  connection: import up to {site.connection.import_limit_kw:g} kW, "
        f"export up to {site.connection.export_limit_kw:g} kW\n"
        f"  tariff: {_tariff(site.tariff)}\n"
        f"  EMS: {site.ems.mode}, horizon {site.ems.horizon}",
        markup=False,
        soft_wrap=True,
    )
    for table in (_devices(site), _profiles(site), _cases(site) if site.cases else None):
        if table is not None:
            console.print(table)


def site_json(site: SiteDescription) -> dict[str, Any]:
    """The summary for a program; powers in kW, energies in kWh."""
    return {
        "site": site.site,
        "description": site.description,
        "time_zone": site.location.time_zone,
        "date": site.date.isoformat(),
        "step_s": site.time.step_s,
        "cases": sorted(site.cases),
        "devices": {
            name: device.model_dump(mode="json", exclude={"sessions", "daily", "source", "forecast"})
            | ({"sessions": len(device.sessions), "daily": len(device.daily)} if isinstance(device, Charger) else {})
            for name, device in site.devices.items()
        },
        "profiles": {name: _span(profile, site) for name, profile in site.profiles.items()},
    }


def _devices(site: Site) -> "Table":
    from rich.table import Table

    table = Table(title="Devices", title_style="bold", title_justify="left")
    for head in ("device", "kind", "node"):
        table.add_column(head, no_wrap=True)
    table.add_column("nameplate")
    table.add_column("in simulation")
    for name, device in site.devices.items():
        table.add_row(name, device.kind, device.node or site.network.main_node, device.nameplate.text, _plant(device))
    return table


def _plant(device: AnyDevice) -> str:
    if isinstance(device, Charger):
        sessions = [f"{len(device.sessions)} charging sessions"] if device.sessions else []
        sessions += [
            f"{d.vehicle} {d.arrival:%H:%M} to {d.departure:%H:%M}, {d.capacity_kwh:.4g} kWh" for d in device.daily
        ]
        return "; ".join(sessions) or "no vehicles"
    if isinstance(device, Bess):
        return f"begins at {device.initial_soc_frac:.0%}"
    if isinstance(device, HeatPump):
        profiles = f"{device.temp_outdoor_profile}, {device.heat_demand_profile}"
        return f"begins at {device.initial_soc_frac:.0%}; {profiles}"
    if isinstance(device, Pv):
        return device.source.profile if isinstance(device.source, PowerProfile) else device.source.type
    return device.profile or ("the network twin measures in its place" if isinstance(device, Meter) else "")


def _profiles(site: Site) -> "Table":
    from rich.table import Table

    table = Table(title="Profiles", title_style="bold", title_justify="left")
    table.add_column("profile", no_wrap=True)
    table.add_column("period, local time")
    for head in ("values", "least", "mean", "most"):
        table.add_column(head, justify="right", no_wrap=True)
    for name, profile in site.profiles.items():
        span = _span(profile, site)
        when = "every day" if span["start"] is None else f"{span['start'][:16]} to {span['end'][:16]}"
        numbers = (f"{span[key]:.4g}" for key in ("least", "mean", "most"))
        table.add_row(name, f"{when}, steps of {span['step_s']} s", str(span["values"]), *numbers)
    return table


def _span(profile: Profile, site: Site) -> dict[str, Any]:
    start = end = None
    if not isinstance(profile, DayProfile):
        start, end = (time.astimezone(site.zone).isoformat() for time in (profile.begin, profile.end))
    values = profile.values
    return {
        "start": start,
        "end": end,
        "step_s": profile.step_s,
        "values": len(values),
        "least": min(values),
        "mean": sum(values) / len(values),
        "most": max(values),
    }


def _cases(site: SiteDescription) -> "Table":
    from rich.table import Table

    table = Table(title="Cases", title_style="bold", title_justify="left")
    for head in ("case", "tariff", "PV"):
        table.add_column(head)
    for label, case in sorted(site.cases.items()):
        sources = (
            f"{name}: {source.profile if isinstance(source, PowerProfile) else source.type}"
            for name, source in case.pv.items()
        )
        table.add_row(label, _tariff(case.tariff), ", ".join(sources) or "the site's")
    return table


def _tariff(tariff: Tariff) -> str:
    sold = _price(tariff.sale, tariff.sale_price)
    bought = _price(tariff.purchase, tariff.purchase_price)
    if tariff.spread_eur_per_kwh is not None:
        bought = f"{tariff.spread_eur_per_kwh:g} €/kWh above it"
    charge = tariff.demand_charge_eur_per_kw
    return f"sale price {sold}, purchase price {bought}" + (
        "" if charge is None else f", demand charge {charge:g} €/kW a month on {billed_peak(tariff)}"
    )


def billed_peak(tariff: Tariff) -> str:
    """The peak that the demand charge bills, in words."""
    billing = tariff.demand_billing
    peak = "the month's highest quarter-hour of import"
    if billing.mean_months > 1:
        peak = f"the mean of the highest quarter-hours of import of {billing.mean_months} months"
    least = [f"{billing.ratchet_frac:.0%} of the highest of the 11 months before"] if billing.ratchet_frac else []
    least += [f"{billing.floor_kw:g} kW"] if billing.floor_kw else []
    return peak + (f", at least {' and '.join(least)}" if least else "")


def _price(profile: str | None, rule: PriceRule | None) -> str:
    if rule is None:
        return str(profile)
    names = [component.name for component in rule.components] + [tax.name for tax in rule.taxes]
    return "of " + " + ".join(dict.fromkeys(names if rule.market is None else [rule.market, *names]))
