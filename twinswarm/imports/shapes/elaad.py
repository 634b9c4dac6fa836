"""ElaadNL's open data of public charge points: transactions.

Columns: TransactionId;ChargePoint;Connector;UTCTransactionStart;UTCTransactionStop;StartCard;ConnectedTime;ChargeTime;
TotalEnergy;MaxPower; energies in kWh, times in UTC by their name (https://platform.elaad.io, "open transactions").
"""

from dataclasses import replace

from twinswarm.imports.imported import ImportedSessions
from twinswarm.imports.opening import RawFile
from twinswarm.imports.options import Kind
from twinswarm.imports.shapes import sessions_table
from twinswarm.imports.shapes.shape import Shape, Wanted


def recognises(file: RawFile) -> bool:
    return "UTCTransactionStart" in file.begin and "TotalEnergy" in file.begin


def read(wanted: Wanted) -> ImportedSessions:
    """Raises InputError."""
    options = replace(wanted.options, unit=wanted.options.unit or "kWh")
    wanted.notes.assumed.append("TotalEnergy is in kWh, as ElaadNL states (--unit)")
    return sessions_table.read(replace(wanted, options=options))


SHAPE = Shape("elaad", "transactions of ElaadNL's open data", frozenset({Kind.SESSIONS}), read, recognises)
