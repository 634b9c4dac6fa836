"""What ``import`` prints: what was read, assumed and repaired, numbers to look at, and what was written."""

from typing import TYPE_CHECKING, Any

from twinswarm.cli.output import Output
from twinswarm.imports.imported import UNITS, Imported, ImportedSessions
from twinswarm.imports.notes import Notes
from twinswarm.imports.options import Kind, Options
from twinswarm.imports.statistics import statistics_of
from twinswarm.imports.target import Target

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table


def finish(imported: Imported, options: Options, target: Target, output: Output) -> None:
    """Puts the import where it goes, and prints it. Raises InputError."""
    files, said = target.put(imported, options)
    numbers = {name: statistics_of(grid, imported.kind) for name, grid in imported.series.items()}
    output.write(
        {
            "kind": imported.kind.value,
            "shape": imported.shape,
            **imported.notes.to_json(),
            "statistics": numbers,
            "files": [str(file) for file in files],
            "site": said,
        }
    )
    console = output.console
    print_notes(imported.notes, console)
    console.print(_numbers(numbers))
    print_written([str(file) for file in files], said, console)


def finish_sessions(
    found: ImportedSessions, options: Options, target: Target, chargers: str | None, output: Output
) -> None:
    """As `finish`, of charging sessions. Raises InputError."""
    files, said, numbers = target.put_sessions(found, options, chargers)
    output.write(
        {
            "kind": Kind.SESSIONS.value,
            "shape": found.shape,
            **found.notes.to_json(),
            "statistics": numbers,
            "files": [str(file) for file in files],
            "site": said,
        }
    )
    console = output.console
    print_notes(found.notes, console)
    console.print(
        f"{numbers['sessions']} sessions at {numbers['chargers']} chargers from {numbers['start'][:16]} to "
        f"{numbers['end'][:16]} UTC; {numbers['energy_kwh']:.1f} kWh, {numbers['mean_energy_kwh']:.1f} kWh and "
        f"{numbers['mean_stay_h']:.1f} h each; {numbers['most_at_once']} at once at most",
        markup=False,
        soft_wrap=True,
    )
    print_written([str(file) for file in files], said, console)


def print_notes(notes: Notes, console: "Console") -> None:
    for head, lines in (("Read", notes.read), ("Assumed", notes.assumed), ("Repaired", notes.repaired)):
        for place, line in enumerate(lines):
            console.print(f"{head if place == 0 else '':9}{line}", markup=False, soft_wrap=True)


def print_written(files: list[str], said: list[str], console: "Console") -> None:
    for place, file in enumerate(files):
        console.print(f"{'Written' if place == 0 else '':9}{file}", markup=False, soft_wrap=True)
    for place, line in enumerate(said):
        console.print(f"{'Site' if place == 0 else '':9}{line}", markup=False, soft_wrap=True)
    if not files:
        console.print("Nothing is written: --site SITE puts it into a site, --out DIR into a folder.")


def _numbers(numbers: dict[str, dict[str, Any]]) -> "Table":
    from rich.table import Table

    table = Table()
    for head in ("", "from, UTC", "to, UTC"):
        table.add_column(head, no_wrap=True)
    for head in ("step, s", "values", "least", "mean", "most", "energy, kWh"):
        table.add_column(head, justify="right", no_wrap=True)
    for name, found in numbers.items():
        energy = f"{found['energy_kwh']:,.1f}".replace(",", " ") if "energy_kwh" in found else ""
        table.add_row(
            f"{name}, {UNITS[name]}",
            found["start"][:16].replace("T", " "),
            found["end"][:16].replace("T", " "),
            str(found["step_s"]),
            str(found["values"]),
            *(f"{found[key]:.4g}" for key in ("least", "mean", "most")),
            energy,
        )
    return table
