"""What a run with devices behind protocols saved beside the run of twins alone, and how far the two may be apart.

Two errors are made where a device is behind a protocol, each in proportion to a change of power ΔP:

- *sampling*: the site sees a power, and the energy by then, up to a lag L later. The energy ΔP·L is counted in the
  wrong quarter-hour, and a plan that balances the PCC by the older value is off by as much again.
- *actuation*: a set-point reaches the hardware a delay D after the quarter-hour has begun. ΔP·D flows otherwise.

The PCC is the sum of the devices in the site. Their registers are read at different ages, so that it turns round within
a quarter-hour where it does not in truth; energy is therefore settled as a sum of each quarter-hour, in both runs.

An energy in the wrong place costs at most the difference between buying and selling. So the two runs are at most

    Σ over devices and quarter-hours of |ΔP|·(2L + D)·(purchase price − sale price)

apart. L and D are seconds of the machine, and as many times more of the run as it is faster.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from services.outward.participant import REFRESH_S
from tests.mixed.lab import BY_PROTOCOL, DRIVEN, HARDWARE_S, POLL_S, SAMPLE_S

QUARTER_H = 0.25
ACTUATION_S = 0.05
"""Set-point to device, p99 of `benchmarks/setpoints.py` [s of the machine]."""
PLANNED_S = 2.0
"""After the beginning of a quarter-hour the EMS plans [s of the run]."""
OCPP_S = 0.45
"""Between what a charge point measures and what its driver hands on: its own look every 0.25 s, and 0.2 s."""


def lags_s(speed: float) -> dict[str, float]:
    """The most that each device's power is behind in the site, in the run's time [s]."""
    telemetry_s = HARDWARE_S / speed
    modbus_s = min(REFRESH_S, telemetry_s) + POLL_S
    machine = {"pv": modbus_s, "bess": modbus_s, "ev1": SAMPLE_S + OCPP_S, "building": telemetry_s}
    return {device: lag_s * speed for device, lag_s in machine.items()}


@dataclass(frozen=True)
class Account:
    """Savings are with the energy that is left in the batteries, at its price."""

    speed: float
    twins_eur: float
    mixed_eur: float
    most_apart_eur: float
    in_real_time_eur: float
    """The same at the speed of real time."""
    misplaced_kwh: Mapping[str, float]
    """By device: energy that the site counted in another quarter-hour than the hardware."""
    lost_kwh: Mapping[str, float]
    """By device: what the site counted more than the hardware over the whole run."""

    @property
    def apart_eur(self) -> float:
        return self.mixed_eur - self.twins_eur

    def __str__(self) -> str:
        lags = lags_s(self.speed)
        lines = [
            f"savings, stored energy included: twins {self.twins_eur:.3f} EUR, mixed {self.mixed_eur:.3f} EUR",
            f"apart {self.apart_eur:+.3f} EUR; by sampling and actuation at most {self.most_apart_eur:.3f} EUR "
            f"(in real time {self.in_real_time_eur:.3f} EUR)",
        ]
        for device, protocol in BY_PROTOCOL.items():
            lines.append(
                f"{device:9} {protocol:12} lag {lags[device]:4.0f} s of the run, "
                f"{self.misplaced_kwh[device]:.3f} kWh in another quarter-hour, {self.lost_kwh[device]:+.3f} kWh in all"
            )
        return "\n".join(lines)


def account(twins: Mapping[str, Any], mixed: Mapping[str, Any], hardware: Mapping[str, Any], speed: float) -> Account:
    """Of three results of ``--json``."""
    quarters: Sequence[Mapping[str, Any]] = mixed["quarters"]
    real = {quarter["time"]: quarter["power_kw"] for quarter in hardware["quarters"]}
    misplaced, lost = {}, {}
    for device in DRIVEN:
        off_kwh = [QUARTER_H * (_kw(each["power_kw"], device) - _kw(real[each["time"]], device)) for each in quarters]
        misplaced[device], lost[device] = sum(map(abs, off_kwh)) / 2, sum(off_kwh)
    true = [{**each, "power_kw": real[each["time"]]} for each in quarters]
    apart = (most_apart_eur(true, each) for each in (speed, 1.0))
    return Account(speed, _saved_eur(twins), _saved_eur(mixed), *apart, misplaced, lost)


def most_apart_eur(quarters: Sequence[Mapping[str, Any]], speed: float) -> float:
    """The sum of the module's docstring, for the powers of the hardware."""
    lags, delay_s = lags_s(speed), PLANNED_S + ACTUATION_S * speed
    return sum(
        abs(_kw(now["power_kw"], device) - _kw(before["power_kw"], device))
        * ((2 * lags[device] + delay_s) / 3600)
        * (now["purchase_price_eur_per_kwh"] - now["sale_price_eur_per_kwh"])
        for before, now in pairwise(quarters)
        for device in DRIVEN
    )


def _kw(powers: Mapping[str, float | None], device: str) -> float:
    return powers.get(device) or 0.0


def _saved_eur(result: Mapping[str, Any]) -> float:
    """Energy is bought or sold as a sum of each quarter-hour."""
    saved = sum(_cost_eur(each, "reference_pcc_kw") - _cost_eur(each, "pcc_kw") for each in result["quarters"])
    return float(saved + result["stored_energy_difference_eur"])


def _cost_eur(quarter: Mapping[str, Any], meter: str) -> float:
    kwh = float(quarter[meter]) * QUARTER_H
    return kwh * float(quarter["purchase_price_eur_per_kwh" if kwh > 0 else "sale_price_eur_per_kwh"])
