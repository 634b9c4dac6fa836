"""Every point that was looked at, on disk: a calibration that was stopped goes on where it was."""

import hashlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from schemas.errors import Code, InputError
from sites.description import SiteDescription
from twinswarm.study.calibration.target import Target, cost_of


@dataclass(frozen=True, slots=True)
class Point:
    """One set of parameters and what came of it."""

    values: list[float]
    residuals: list[float]
    rmse_eur_per_day: float
    signs_matched: int
    psf: dict[str, float]


@dataclass
class State:
    """The optimiser's path is a function of its points, so that going on is walking it again through known ones."""

    path: Path | None
    fingerprint: str
    target: Target
    points: list[Point] = field(default_factory=list)

    @classmethod
    def open(cls, path: Path | None, site: SiteDescription, target: Target) -> "State":
        """Raises InputError for a file of another site or target."""
        text = site.model_dump_json() + target.model_dump_json()
        fingerprint = hashlib.sha256(text.encode()).hexdigest()
        state = cls(path, fingerprint, target)
        if path is None or not path.exists():
            return state
        try:
            data: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            state.points = [Point(**point) for point in data["points"]]
            known = data["fingerprint"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError.one(
                "--state", f"is not a calibration's state: {error}", str(path), code=Code.FORMAT
            ) from None
        if known != fingerprint:
            raise InputError.one(
                "--state", "belongs to another site or target; give another file", str(path), code=Code.FOREIGN
            )
        return state

    def find(self, values: list[float]) -> Point | None:
        return next((point for point in self.points if point.values == values), None)

    def add(self, point: Point) -> None:
        self.points.append(point)
        if self.path is not None:
            text = json.dumps({"fingerprint": self.fingerprint, "points": [asdict(point) for point in self.points]})
            new = self.path.with_suffix(f"{self.path.suffix}.new")
            new.write_text(text, encoding="utf-8")
            new.replace(self.path)

    def cost(self, point: Point) -> float:
        """What is made small."""
        return cost_of([*point.residuals, *self.target.held(point.values)])

    @property
    def best(self) -> Point | None:
        return min(self.points, key=self.cost, default=None)
