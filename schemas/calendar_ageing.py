"""How long a cell lasts at rest, by its state of charge and temperature: published laws of calendar ageing.

Both laws have the form loss = k(T)·f(SOC)·t^p. Where the SOC changes, loss^(1/p) adds up: an hour takes the part
1/life(SOC) of the cell's life, whatever its age is. So an hour at a SOC has one price, and that is what plans and
settlement use (`schemas.site.CalendarWear`).
"""

import math
from bisect import bisect_right
from enum import StrEnum

KELVIN = 273.15
GAS_CONSTANT = 8.3144598
"""[J/(mol·K)]"""
HOURS_A_YEAR = 8760.0


class Cell(StrEnum):
    """Cells whose calendar ageing is published as a function of SOC and temperature."""

    LFP = "lfp"
    """LiFePO4/graphite, Sony US26650FTC1, 3 Ah."""
    NMC = "nmc"
    """Li(NiMnCo)O2/graphite, Sanyo UR18650E, 2.15 Ah."""


def life_years(cell: Cell, soc_frac: float, temp_c: float, loss_frac: float) -> float:
    """Years at rest in which a new cell loses ``loss_frac`` of its capacity, at a constant SOC and temperature."""
    return {Cell.LFP: _lfp_years, Cell.NMC: _nmc_years}[cell](min(max(soc_frac, 0.0), 1.0), temp_c, loss_frac)


def _lfp_years(soc_frac: float, temp_c: float, loss_frac: float) -> float:
    """Notes: loss = 1.2571e-5 s^-0.5 · exp(−17126/R · (1/T − 1/298.15)) · (2.8575·(SOC − 0.5)³ + 0.60225) · √t.

    M. Naumann, M. Schimpe, P. Keil, H. C. Hesse, A. Jossen, "Analysis and modeling of calendar aging of a commercial
    LiFePO4/graphite cell", Journal of Energy Storage 17 (2018) 153-169, doi 10.1016/j.est.2018.01.019.
    """
    temperature = 1.2571e-5 * math.exp(-17126.0 / GAS_CONSTANT * (1 / (temp_c + KELVIN) - 1 / 298.15))
    charge = 2.8575 * (soc_frac - 0.5) ** 3 + 0.60225
    return float((loss_frac / (temperature * charge)) ** 2 / (3600 * HOURS_A_YEAR))


def _nmc_years(soc_frac: float, temp_c: float, loss_frac: float) -> float:
    """Notes: loss = (7.543 V − 23.75) · 10⁶ · exp(−6976 K/T) · t^0.75, t in days, V the open-circuit voltage.

    J. Schmalstieg, S. Käbitz, M. Ecker, D. U. Sauer, "A holistic aging model for Li(NiMnCo)O2 based 18650 lithium-ion
    batteries", Journal of Power Sources 257 (2014) 325-334, doi 10.1016/j.jpowsour.2014.02.012.
    """
    volt = _nmc_open_circuit_v(soc_frac)
    rate = (7.543 * volt - 23.75) * 1e6 * math.exp(-6976.0 / (temp_c + KELVIN))
    return float((loss_frac / rate) ** (1 / 0.75) * 24 / HOURS_A_YEAR)


NMC_OPEN_CIRCUIT_V = (3.331, 3.491, 3.602, 3.627, 3.655, 3.697, 3.775, 3.869, 3.965, 4.073, 4.162)
"""Of that cell at SOC 0, 0.1, … 1, read from figure 1 of the same paper; a millivolt is 0.2 % of the rate."""


def _nmc_open_circuit_v(soc_frac: float) -> float:
    """Linear between the points."""
    place = 10 * soc_frac
    before = min(bisect_right(range(11), place) - 1, 9)
    low, high = NMC_OPEN_CIRCUIT_V[before], NMC_OPEN_CIRCUIT_V[before + 1]
    return low + (place - before) * (high - low)
