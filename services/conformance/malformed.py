"""Messages that the contract does not allow, by what is wrong with them."""

from datetime import timedelta

from schemas.messages import Setpoint
from services.conformance.bench import Bench
from services.conformance.commands import asked_kw, value_field

MALFORMED = (
    "that is no JSON",
    "with text as its value",
    "with a field that the contract does not have",
    "that ends before it begins",
    "of another contract",
    "with NaN",
    "without a time zone",
    "without an epoch",
)


def malformed(name: str, bench: Bench, setpoint: Setpoint) -> bytes:
    field = value_field(setpoint)
    if name == "that is no JSON":
        return bench.stamped(setpoint)[:-1]
    if name == "with NaN":
        return bench.altered(setpoint, **{field: float("nan")})
    changes: dict[str, object] = {
        "with text as its value": {field: str(asked_kw(setpoint))},
        "with a field that the contract does not have": {"boost": True},
        "that ends before it begins": {"valid_until": (setpoint.valid_from - timedelta(minutes=1)).isoformat()},
        "of another contract": {"contract": 3},
        "without a time zone": {"valid_until": f"{setpoint.valid_until:%Y-%m-%dT%H:%M:%S}"},
        "without an epoch": {"epoch": None},
    }
    altered = changes[name]
    assert isinstance(altered, dict)
    return bench.altered(setpoint, **altered)
