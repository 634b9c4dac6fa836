"""The target of a calibration, and the parameters of the site that it may move: read from a TOML file.

    reference = "smart"
    scale_eur_per_day = 0.2     # an error of the table so large counts 1
    scale_psf = 0.03            # an error of a peak-shaving factor so large counts 1
    pull = 0.5                  # what a parameter at a bound counts, for being there; 0 if left out

    [[parameter]]
    name = "pv_size"
    how = "scale"               # scale: values times it; shift: values plus it; set: values become it
    paths = ["devices.{pv}.rated_kw", "profiles.pv_clear.values"]
    start = 1.0
    least = 0.95
    most = 1.05
    hours = [12.5, 13.25]       # optional: of a profile of a day only these local hours

A path leads through the site description by names; ``*`` is every entry of a list or group, ``{charger}`` (bess, pv,
meter) every device of that kind. What is reached is a number or a list of numbers.
"""

import math
import tomllib
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from schemas.errors import Code, Fault, InputError, faults_of
from sites.description import SiteDescription
from twinswarm.simulation.variants import Reference


class How(StrEnum):
    SCALE = "scale"
    SHIFT = "shift"
    SET = "set"


class Parameter(BaseModel):
    """One number that is searched; it may stand for many of the site."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    name: Annotated[str, Field(min_length=1, max_length=64)]
    how: How
    paths: Annotated[tuple[str, ...], Field(min_length=1)]
    start: float
    least: float
    most: float
    hours: tuple[float, float] | None = None
    unit: str = ""

    def departure(self, value: float) -> float:
        """How far a value is from the start, in parts of the way to the bound on its side."""
        if value == self.start:
            return 0.0  # which may lie at a bound
        bound = self.most if value > self.start else self.least
        return (value - self.start) / abs(bound - self.start)

    @model_validator(mode="after")
    def _bounded(self) -> Self:
        if not self.least <= self.start <= self.most or self.least == self.most:
            raise ValueError(f"start {self.start} is not between least {self.least} and most {self.most}")
        return self


class Target(BaseModel):
    """The table aimed at is the published one; how an error of it compares with an error of a factor is stated here."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    reference: Reference
    scale_eur_per_day: Annotated[float, Field(gt=0)] = 0.2
    scale_psf: Annotated[float, Field(gt=0)] = 0.03
    pull: Annotated[float, Field(ge=0)] = 0.0
    """Holds parameters to where they start, so that what the table cannot tell stays what was believed."""
    parameter: Annotated[tuple[Parameter, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _named_once(self) -> Self:
        names = [parameter.name for parameter in self.parameter]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"parameters named twice: {', '.join(twice)}")
        return self

    def held(self, values: list[float]) -> list[float]:
        """Residuals of the parameters' departures from their starts, each in parts of the way to its bound."""
        if not self.pull:
            return []
        return [self.pull * p.departure(value) for p, value in zip(self.parameter, values, strict=True)]


_MOST_BYTES = 2**20


def read_target(path: Path) -> Target:
    """Raises InputError with every fault of the file."""
    try:
        if path.exists() and not path.is_file():
            raise InputError.one(str(path), "is not a regular file", code=Code.UNREADABLE)
        with path.open("rb") as file:
            raw = file.read(_MOST_BYTES + 1)
        if len(raw) > _MOST_BYTES:
            what = f"is larger than {_MOST_BYTES // 2**20} MiB, the most that is read"
            raise InputError.one(str(path), what, code=Code.RANGE)
        data = tomllib.loads(raw.decode())
    except OSError as error:
        raise InputError.one("--target", f"cannot be read: {error.strerror}", str(path), code=Code.UNREADABLE) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError.one(str(path), f"is not TOML: {error}", code=Code.FORMAT) from None
    try:
        return Target.model_validate(data)
    except ValidationError as error:
        raise InputError(faults_of(error, str(path))) from None


@dataclass(frozen=True)
class Fitting:
    """A site and the numbers of it that are searched."""

    site: SiteDescription
    parameters: tuple[Parameter, ...]

    def check_bounds(self) -> None:
        """Raises InputError with every fault of the sites with one parameter at a bound, the others where they start:
        better now than after an hour. What two of them make together is not looked at.
        """
        faults: list[Fault] = []
        start = [parameter.start for parameter in self.parameters]
        for place, parameter in enumerate(self.parameters):
            for name, bound in (("least", parameter.least), ("most", parameter.most)):
                try:
                    self.with_values([*start[:place], bound, *start[place + 1 :]])
                except InputError as error:
                    where = f"parameter {parameter.name} at its {name}, {bound:g}"
                    faults += [
                        Fault(f"{where}: {fault.where}", fault.what, fault.received, code=fault.code)
                        for fault in error.faults
                    ]
        if faults:
            raise InputError(faults)

    def with_values(self, values: list[float]) -> SiteDescription:
        """The site with each parameter at its value, parameters applied in their order.

        Raises InputError where a path leads nowhere or the site would not be one any more.
        """
        data = self.site.model_dump(mode="json")
        for parameter, value in zip(self.parameters, values, strict=True):
            for path in parameter.paths:
                _apply(data, path, parameter, value)
        try:
            return SiteDescription.model_validate(data)
        except ValidationError as error:
            raise InputError(faults_of(error, "the site with these parameters")) from None


def _apply(data: dict[str, Any], path: str, parameter: Parameter, value: float) -> None:
    found = [(data, "")]
    parts = path.split(".")
    for place, part in enumerate(parts):
        holders = [(holder[key] if key != "" else holder) for holder, key in found]
        found = [(holder, key) for holder in holders for key in _keys(holder, part)]
        if not found:
            where = ".".join(parts[: place + 1])
            raise InputError.one(
                f"parameter {parameter.name}", "this path leads nowhere in the site", where, code=Code.UNKNOWN
            )
    for holder, key in found:
        holder[key] = _changed(holder[key], parameter, value, path)


def _keys(holder: Any, part: str) -> list[Any]:
    if isinstance(holder, dict):
        if part == "*":
            return list(holder)
        if part.startswith("{") and part.endswith("}"):
            return [key for key, entry in holder.items() if isinstance(entry, dict) and entry.get("kind") == part[1:-1]]
        return [part] if part in holder else []
    if isinstance(holder, list):
        if part == "*":
            return list(range(len(holder)))
        return [int(part)] if part.isdigit() and int(part) < len(holder) else []
    return []


def _changed(old: Any, parameter: Parameter, value: float, path: str) -> Any:
    if isinstance(old, list) and all(isinstance(item, int | float) for item in old):
        inside = _inside(parameter.hours, len(old))
        return [_one(item, parameter.how, value) if here else item for item, here in zip(old, inside, strict=True)]
    if isinstance(old, int | float) and not isinstance(old, bool) and parameter.hours is None:
        return _one(old, parameter.how, value)
    raise InputError.one(
        f"parameter {parameter.name}", "is to lead to a number, or to the values of a profile", path, code=Code.CONFLICT
    )


def _one(old: float, how: How, value: float) -> float:
    return {How.SCALE: old * value, How.SHIFT: old + value, How.SET: value}[how]


def _inside(hours: tuple[float, float] | None, count: int) -> list[bool]:
    """Which of a day's ``count`` equal steps begin within the hours."""
    if hours is None:
        return [True] * count
    return [hours[0] <= 24 * place / count < hours[1] for place in range(count)]


def residual_names(cases: tuple[str, ...]) -> list[str]:
    """Names of the vector that is made small, in its order."""
    from twinswarm.study.published import STORAGES, published

    money = [f"case {case}, {storage}" for case in cases for storage in STORAGES]
    factors = [f"PSF case {case}, {storage}" for case in cases for storage in STORAGES if published()[case].psf]
    return [*money, *factors]


def cost_of(residuals: list[float]) -> float:
    """Half the sum of squares, as `scipy.optimize.least_squares` counts it."""
    return 0.5 * math.fsum(value * value for value in residuals)
