"""The optimisation as a table of contents: each term is a file. Numbers in brackets: IEEE SEST 2024, doi
10.1109/sest61601.2024.10694561.

A new term is a file here and a line in `TERMS`. The order is that of columns and rows, which decides between solutions
of equal cost: new terms go to the end of their part. Powers are in kW averaged over a step, energies in kWh at its end;
all variables are ≥ 0.
"""

from typing import Any

from services.ems.terms.base import Term
from services.ems.terms.calendar_wear import CALENDAR_WEAR
from services.ems.terms.connection_limit import ConnectionLimit
from services.ems.terms.demand_charge import DEMAND_CHARGE
from services.ems.terms.discharge_caps import DischargeCaps
from services.ems.terms.exchange import EXPORT, IMPORT, Exchange
from services.ems.terms.fixed_load import FixedLoad
from services.ems.terms.group_limits import GroupLimits
from services.ems.terms.heat import HEAT
from services.ems.terms.highest_import import HighestImport
from services.ems.terms.later import AfterTheWindow
from services.ems.terms.outside_limits import OutsideLimits
from services.ems.terms.pcc_exclusion import PccExclusion
from services.ems.terms.phase_gap import PhaseGap
from services.ems.terms.power_balance import PowerBalance
from services.ems.terms.pv import Pv
from services.ems.terms.ramping import Ramping
from services.ems.terms.ratchet import RATCHET
from services.ems.terms.requests import Requests
from services.ems.terms.smallest_power import SmallestPower
from services.ems.terms.storage import STORAGE
from services.ems.terms.store_exclusion import STORE_EXCLUSION
from services.ems.terms.taper import Taper
from services.ems.terms.targets import Targets
from services.ems.terms.tie_break import TieBreak
from services.ems.terms.wear import WEAR
from services.ems.terms.weighting import Weighting

TERMS: tuple[Term[Any], ...] = (
    PowerBalance(),  # (2)
    Exchange(IMPORT),  # (1)
    ConnectionLimit(IMPORT),  # (20)
    Exchange(EXPORT),  # (1)
    ConnectionLimit(EXPORT),  # (21)
    FixedLoad(),
    Pv(),
    STORAGE,  # (3)-(5), (9)(10), (12)-(16)
    Targets(),  # (6)
    WEAR,
    STORE_EXCLUSION,  # (7)(8)(11), (17)(18)(19)
    SmallestPower(),
    HEAT,
    PccExclusion(),  # (20)(21) with binaries; after all terms whose powers it parts
    GroupLimits(),
    DEMAND_CHARGE,
    OutsideLimits(),
    AfterTheWindow(),
    Taper(),
    Ramping(),
    DischargeCaps(),
    PhaseGap(),
    HighestImport(),
    CALENDAR_WEAR,
    RATCHET,
    Weighting(),
    Requests(),
    TieBreak(),
)
"""All terms, in the order of their columns and rows."""
