"""Transactions of an OCPP back end, as CSV or Excel: meterStart and meterStop [Wh] of StartTransaction and
StopTransaction (OCPP 1.6, sections 6.45 and 6.49), with their timestamps, id tag, charge box and connector."""

import re

from twinswarm.imports.opening import RawFile
from twinswarm.imports.options import Kind
from twinswarm.imports.shapes import sessions_table
from twinswarm.imports.shapes.shape import Shape

_TRANSACTION = re.compile(r"transaction.?id|charge.?box.?id|id.?tag", re.IGNORECASE)
_METER = re.compile(r"meter.?start|start.?value", re.IGNORECASE)


def recognises(file: RawFile) -> bool:
    head = file.begin.partition("\n")[0]
    return _TRANSACTION.search(head) is not None and _METER.search(head) is not None


SHAPE = Shape(
    "ocpp-transactions", "transactions of an OCPP back end", frozenset({Kind.SESSIONS}), sessions_table.read, recognises
)
