"""The record of a decision in wall time: what it was made from, small enough to be kept with every plan.

The state is whole: a decision is repeated from its record alone, whatever else of the history was lost, and whatever
restarts lie between. It compresses to a fifth of the plan and telemetry of the same quarter-hour.
"""

import base64
import binascii
import hashlib
import json
import zlib

from schemas.errors import Code, LocalStateError
from schemas.messages import DecisionRecord, EmsMode, Phase, Stamp, TimeMode
from schemas.participant import Json, Turn, software
from schemas.site import Site
from schemas.wire import MAX_PAYLOAD_BYTES

_OTHER_BYTES = 1024
"""More than the record's other fields and the stamp ever take on the wire."""


def record_of(turn: Turn, epoch: int, state: Json, site_sha256: str) -> DecisionRecord | None:
    """The record of the decision at ``turn`` in ``state``; None: it would be too large for a message."""
    packed = base64.b64encode(zlib.compress(json.dumps(state, separators=(",", ":")).encode())).decode()
    if len(packed) > MAX_PAYLOAD_BYTES - _OTHER_BYTES:
        return None
    return DecisionRecord(
        software=software(),
        site_sha256=site_sha256,
        epoch=epoch,
        t0=turn.t0,
        t_end=turn.t_end,
        step_s=turn.step_s,
        turn=turn.n,
        pace=turn.pace,
        snapshot=packed,
    )


def turn_of(record: DecisionRecord, stamp: Stamp) -> Turn:
    """The turn in which this was decided. ``stamp`` is the record's."""
    return Turn(
        Phase.DECIDE,
        stamp.ts,
        record.t0,
        record.t_end,
        record.step_s,
        TimeMode.WALL,
        record.turn,
        boot=stamp.boot,
        pace=record.pace,
    )


def state_of(record: DecisionRecord) -> Json:
    """The EMS' state, as its ``restore`` takes it. Raises LocalStateError when the text was damaged."""
    try:
        return json.loads(zlib.decompress(base64.b64decode(record.snapshot, validate=True)))
    except (binascii.Error, zlib.error, ValueError) as error:
        raise LocalStateError(f"the snapshot in a decision record is damaged: {error}", code=Code.FORMAT) from None


def digest_of(site: Site) -> str:
    """SHA-256 of a site's description, the EMS' mode left out, which a command may set."""
    ems = site.ems.model_copy(update={"mode": EmsMode.CONTROL})
    return hashlib.sha256(site.model_copy(update={"ems": ems}).model_dump_json().encode()).hexdigest()
