"""``init`` with options or questions: a site of one's own numbers and files."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import typer

from schemas.errors import Code, Fault, InputError
from twinswarm.cli.output import console


@dataclass(frozen=True)
class Asked:
    """What the options say; None or nothing: they do not."""

    latitude: float | None
    longitude: float | None
    time_zone: str | None
    country: str | None
    import_limit: float
    export_limit: float | None
    spread: float
    demand_charge: float | None
    pv: tuple[str, ...]
    charger: tuple[str, ...]
    bess: str | None
    files: Mapping[str, Path | None]
    year: int | None
    economics: tuple[str, ...]


def make_site(directory: Path, asked: Asked, *, ask: bool) -> None:
    """Reads all files before anything is written. Raises InputError with the faults of all, and leaves nothing then."""
    from twinswarm.imports.imported import Imported, ImportedSessions
    from twinswarm.imports.new_site import NewSite, parse_battery, parse_chargers, parse_prices, parse_roof, write_site
    from twinswarm.imports.options import Kind, Options
    from twinswarm.imports.reading import read_file
    from twinswarm.imports.zones import zone_named

    asked = _answered(asked) if ask else asked
    lacking = {"--latitude": asked.latitude, "--longitude": asked.longitude, "--time-zone": asked.time_zone}
    if missing := [name for name, value in lacking.items() if value is None]:
        raise InputError(Fault(name, "is needed for a site of your own", code=Code.MISSING) for name in missing)
    assert asked.latitude is not None and asked.longitude is not None and asked.time_zone is not None
    zone = zone_named(asked.time_zone)
    site = NewSite(
        re.sub(r"[^a-z0-9]+", "-", directory.absolute().name.lower()).strip("-") or "my-site",
        asked.latitude, asked.longitude, asked.time_zone, asked.country, asked.import_limit,
        asked.import_limit if asked.export_limit is None else asked.export_limit, asked.spread, asked.demand_charge,
        tuple(map(parse_roof, asked.pv)), tuple(map(parse_chargers, asked.charger)),
        None if asked.bess is None else parse_battery(asked.bess), parse_prices(asked.economics),
    )  # fmt: skip
    options = Options(year=asked.year)
    found: dict[str, Imported | ImportedSessions] = {}
    faults: list[Fault] = []
    for name, file in asked.files.items():
        try:
            if file is not None:
                found[name] = read_file(file, Kind(name), zone, options)
        except InputError as error:
            faults += error.faults
    if faults:
        raise InputError(faults)
    from twinswarm.cli.import_output import finish, finish_sessions
    from twinswarm.cli.output import Output
    from twinswarm.imports.target import target_of

    with _all_or_nothing(directory):
        for path in write_site(directory, site):
            typer.echo(path)
        for name, result in found.items():
            typer.echo(f"\n{name}: {asked.files[name]}")
            target = target_of(str(directory), None, name)
            if isinstance(result, Imported):
                finish(result, options, target, Output())
            else:
                finish_sessions(result, options, target, None, Output())
    console().print(f"\ntwinswarm check {directory}\ntwinswarm compare {directory}", markup=False, soft_wrap=True)


@contextmanager
def _all_or_nothing(directory: Path) -> Iterator[None]:
    """Takes back what was written in the folder, and nothing else, if what the files hold does not fit the site."""
    there = directory.exists()
    before = set(directory.iterdir()) if there else set()
    try:
        yield
    except InputError:
        for path in set(directory.iterdir() if directory.exists() else ()) - before:
            path.unlink()
        if not there and directory.exists():
            directory.rmdir()
        typer.echo("What was written is taken back.", err=True)
        raise


def _answered(asked: Asked) -> Asked:
    """Asks for what no option says."""
    files = dict(asked.files)
    answered = replace(
        asked,
        latitude=asked.latitude if asked.latitude is not None else typer.prompt("Latitude, degrees north", type=float),
        longitude=asked.longitude
        if asked.longitude is not None
        else typer.prompt("Longitude, degrees east", type=float),
        time_zone=asked.time_zone or typer.prompt("Time zone", default="Europe/Rome"),
        import_limit=typer.prompt("Connection, kW", default=asked.import_limit, type=float),
        pv=asked.pv or _several("PV roofs, kWp:tilt:azimuth, separated by blanks"),
        charger=asked.charger or _several("Chargers, such as 4x11 2x22:22 (kW back: V2G)"),
        bess=asked.bess or typer.prompt("Battery, kWh:kW", default="", show_default=False) or None,
    )
    for name in ("load", "price", "weather", "sessions"):
        if files[name] is None:
            said = typer.prompt(f"File of {name} (empty: none)", default="", show_default=False)
            files[name] = Path(said) if said else None
    year = asked.year
    if files["weather"] is not None and year is None:
        year = typer.prompt("Year that typical weather stands for (0: it is of its own)", default=0, type=int) or None
    return replace(answered, files=files, year=year)


def _several(question: str) -> tuple[str, ...]:
    return tuple(typer.prompt(question, default="", show_default=False).split())
