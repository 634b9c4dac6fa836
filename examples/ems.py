"""An EMS of your own: a function from the problem to set-points. The rest of this file only compares it.

    python examples/ems.py                                        a day in memory, beside the product's EMS
    twinswarm up --attach ems --port 1883                         the same day over MQTT: in one terminal the site,
    twinswarm ems --algorithm examples/ems.py:charge_evenly       in another this EMS

Every plugged car is charged with the even power that reaches its target at its departure; the battery and PV are left
alone. Powers are in kW, energies in kWh in the battery.
"""

from datetime import timedelta


def charge_evenly(problem):
    """Set-points [kW] for the problem's first step, by device."""
    set_points = {}
    for charger in problem.chargers:
        for stay in charger.stays:
            if stay.arrival <= problem.start < stay.departure:
                hours = (stay.departure - problem.start) / timedelta(hours=1)
                missing_kwh = max(0.0, stay.target_kwh - stay.energy_kwh) / charger.charge_efficiency
                set_points[charger.device] = min(missing_kwh / hours, charger.max_charge_kw)
    return set_points | dict.fromkeys((bess.device for bess in problem.bess), 0.0)


if __name__ == "__main__":
    import twinswarm

    for name, algorithm in (("charge_evenly", charge_evenly), ("optimiser", None)):
        day = twinswarm.run_day("fit_g2v", ems=algorithm)
        missed = f"{day.departure_shortfall_kwh:.2f} kWh missed at departures"
        print(f"{name:14} {day.cost_eur:7.2f} €, saves {day.savings_eur:+6.2f} € against the baseline, {missed}")
