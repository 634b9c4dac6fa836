"""prediction: what the twin beside a device expected of it, what was measured, and what follows from the difference."""

from typing import Annotated

from pydantic import Field

from schemas.messages.stamp import Body, DeviceId
from schemas.units import Kw, SocFrac

ParameterName = Annotated[str, Field(pattern=r"^[a-z0-9_]{1,64}$")]
Residual = Annotated[float, Field(ge=-1, le=1)]


class Estimate(Body):
    """A parameter of the device: as it is described, and as what was measured shows it."""

    described: float
    value: float
    """The most likely value if every other parameter is as described."""
    low: float
    high: float
    """Bounds of the 95 % confidence interval."""


class Prediction(Body):
    """The device beside its twin, in the interval that ends at ``ts``."""

    device: DeviceId
    interval_s: Annotated[float, Field(gt=0, le=1e9)]
    predicted_kw: Kw
    """Mean power of the twin, which was given the same set-points and the measured SOC."""
    measured_kw: Kw
    """Mean power by the device's registers."""
    residual_kw: Kw
    """Measured minus predicted."""
    predicted_soc_frac: SocFrac | None = None
    """From the SOC before and the measured energies, with the described parameters. Left out: no SOC is measured."""
    measured_soc_frac: SocFrac | None = None
    residual_soc_frac: Residual | None = None
    """Measured minus predicted."""
    estimates: Annotated[dict[ParameterName, Estimate], Field(max_length=20)] | None = None
    """By parameter of the site description. Left out as long as nothing has flowed."""
    parted: ParameterName | None = None
    """The parameter by which the device has parted from its description. Left out: it has not."""
    cost_eur_per_month: Annotated[float, Field(ge=0, le=1e9)] | None = None
    """Cost of that in 30 days at the throughput and purchase prices measured so far. Left out while ``parted`` is, and
    without prices."""
