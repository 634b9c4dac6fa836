"""A calibration in a terminal and as JSON: residuals, parameters, bounds, and what the data cannot tell."""

from typing import TYPE_CHECKING, Any

from services.analysis.summary import number
from twinswarm.study.calibration.fit import Fitted
from twinswarm.study.calibration.target import residual_names
from twinswarm.study.tables import change

if TYPE_CHECKING:
    from rich.table import Table


def parameter_table(fitted: Fitted) -> "Table":
    from rich.table import Table

    table = Table(title="Parameters", title_style="bold", title_justify="left")
    table.add_column("name")
    table.add_column("how")
    for head in ("start", "found", "least", "most"):
        table.add_column(head, justify="right", no_wrap=True)
    table.add_column("")
    for parameter, value in zip(fitted.fitting.parameters, fitted.best.values, strict=True):
        how = f"{parameter.how} {parameter.unit}".rstrip()
        told = (number(one, 4) for one in (parameter.start, value, parameter.least, parameter.most))
        table.add_row(parameter.name, how, *told, "at its bound" if parameter.name in fitted.at_bounds else "")
    return table


def residual_table(fitted: Fitted) -> "Table":
    from rich.table import Table

    table = Table(title="Here minus published", title_style="bold", title_justify="left")
    table.add_column("")
    for head in ("at the start", "found"):
        table.add_column(head, justify="right", no_wrap=True)
    for name, before, after in _differences(fitted):
        digits = 3 if name.startswith("PSF") else 2
        table.add_row(name, change(before, digits), change(after, digits))
    return table


def _differences(fitted: Fitted) -> list[tuple[str, float, float]]:
    found = []
    residuals = zip(fitted.start.residuals, fitted.best.residuals, strict=True)
    for name, (before, after) in zip(residual_names(fitted.cases), residuals, strict=True):
        scale = fitted.target.scale_psf if name.startswith("PSF") else fitted.target.scale_eur_per_day
        found.append((name, before * scale, after * scale))
    return found


def verdict(fitted: Fitted) -> list[str]:
    """The calibration's result in sentences."""
    best = fitted.best
    psf = ", ".join(f"{storage} {number(value, 3)}" for storage, value in best.psf.items())
    lines = [
        f"RMSE {number(best.rmse_eur_per_day, 3)} €/day (at the start {number(fitted.start.rmse_eur_per_day, 3)}), "
        f"{best.signs_matched} signs; PSF {psf}.",
        f"{fitted.points} points looked at; "
        + ("the optimiser has converged." if fitted.converged else "stopped before it converged: give more points."),
    ]
    if fitted.at_bounds:
        lines.append(f"At their bounds: {', '.join(fitted.at_bounds)}.")
    if fitted.jacobian is not None:
        strengths = fitted.singular_values
        lines.append(
            f"Singular values of the Jacobian: {', '.join(number(value, 1) for value in strengths)}. "
            f"{len(fitted.weak_directions)} of {len(fitted.fitting.parameters)} directions move the table by less than "
            "3 % of what the strongest does, and are not identified:"
        )
        for direction in fitted.weak_directions:
            lines.append("  " + ", ".join(f"{part:+.2f} {name}" for name, part in direction.items()))
    return lines


def to_json(fitted: Fitted) -> dict[str, Any]:
    """For ``json.dumps``; floats at full precision."""
    best = fitted.best
    return {
        "site": fitted.fitting.site.site,
        "reference": fitted.target.reference.value,
        "rmse_eur_per_day": best.rmse_eur_per_day,
        "rmse_at_start_eur_per_day": fitted.start.rmse_eur_per_day,
        "signs_matched": best.signs_matched,
        "psf": best.psf,
        "points": fitted.points,
        "converged": fitted.converged,
        "parameters": [
            {**parameter.model_dump(mode="json"), "found": value, "at_bound": parameter.name in fitted.at_bounds}
            for parameter, value in zip(fitted.fitting.parameters, best.values, strict=True)
        ],
        "differences": [
            {"name": name, "at_start": before, "found": after} for name, before, after in _differences(fitted)
        ],
        "singular_values": list(fitted.singular_values),
        "not_identified": list(fitted.weak_directions),
    }
