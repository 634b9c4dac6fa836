"""``import``: files as people have them into the profiles and charging sessions of a site."""

from pathlib import Path
from typing import Annotated

import typer

from twinswarm.cli import options
from twinswarm.cli.output import Output
from twinswarm.imports.options import DateOrder, Duplicates, Holes, Kind, MissingHour, Options, Reading, Stamp, step_of

_SESSIONS = "Charging sessions"
_FILE, _VALUES, _TIMES, _REPAIRS, _OUT = "How the file is written", "Values", "Times", "Repairs", "Results"


def import_(
    kind: Annotated[Kind, typer.Argument(help="What the file holds.", show_default=False)],
    file: Annotated[
        Path | None,
        typer.Argument(metavar="[FILE]", help="CSV, Excel, JSON or XML; packed with gzip or zip.", show_default=False),
    ] = None,
    site: Annotated[
        str | None,
        typer.Option(
            "--site",
            metavar="DIR",
            help="Site that the import is put into: table, profile, and who uses it.",
            rich_help_panel=_OUT,
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", metavar="DIR", help="Folder for table, picture and notes, without a site.", rich_help_panel=_OUT
        ),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option("--name", help="Of the profile.", show_default="the kind", rich_help_panel=_OUT),
    ] = None,
    json: options.JsonOption = None,
    shape: Annotated[
        str | None,
        typer.Option("--as", metavar="SHAPE", help="A known shape of files, docs/import.md.", rich_help_panel=_FILE),
    ] = None,
    separator: Annotated[
        str | None, typer.Option("--separator", metavar="SIGN", help="Between columns; tab.", rich_help_panel=_FILE)
    ] = None,
    decimal: Annotated[
        str | None, typer.Option("--decimal", metavar="SIGN", help=", or .", rich_help_panel=_FILE)
    ] = None,
    encoding: Annotated[
        str | None, typer.Option("--encoding", metavar="NAME", help="utf-8, cp1252, utf-16.", rich_help_panel=_FILE)
    ] = None,
    skip_lines: Annotated[
        int | None, typer.Option("--skip-lines", min=0, max=1000, help="Above the header.", rich_help_panel=_FILE)
    ] = None,
    sheet: Annotated[
        str | None, typer.Option("--sheet", metavar="NAME|NUMBER", help="Of a workbook.", rich_help_panel=_FILE)
    ] = None,
    column: Annotated[
        str | None, typer.Option("--column", metavar="NAME|NUMBER", help="Of the values.", rich_help_panel=_VALUES)
    ] = None,
    unit: Annotated[
        str | None,
        typer.Option(
            "--unit",
            help="kW, W, MW, kWh, Wh, MWh; €/MWh, ct/kWh, €/kWh; g/kWh, kg/MWh.",
            metavar="UNIT",
            rich_help_panel=_VALUES,
        ),
    ] = None,
    reading: Annotated[
        Reading | None,
        typer.Option("--reading", help="Energies of intervals, or readings of a counter.", rich_help_panel=_VALUES),
    ] = None,
    factor: Annotated[
        float, typer.Option("--factor", help="Every value is multiplied by it.", rich_help_panel=_VALUES)
    ] = 1.0,
    time_column: Annotated[
        str | None,
        typer.Option(
            "--time-column",
            metavar="NAME|NUMBER",
            help="Two of them with a plus: DATE+TIME; of sessions BEGIN+END.",
            rich_help_panel=_TIMES,
        ),
    ] = None,
    stamp: Annotated[
        Stamp | None, typer.Option("--stamp", help="Which end of its interval a time is.", rich_help_panel=_TIMES)
    ] = None,
    time_zone: Annotated[
        str | None,
        typer.Option(
            "--time-zone",
            metavar="ZONE",
            help="Europe/Rome, UTC, UTC+01:00.",
            show_default="the site's",
            rich_help_panel=_TIMES,
        ),
    ] = None,
    date_order: Annotated[
        DateOrder | None, typer.Option("--date-order", help="Of 03/04/2024.", rich_help_panel=_TIMES)
    ] = None,
    step: Annotated[
        str | None,
        typer.Option(
            "--step", metavar="15min", help="Of the profile.", show_default="the file's", rich_help_panel=_TIMES
        ),
    ] = None,
    holes: Annotated[
        Holes,
        typer.Option(
            "--holes",
            help="How missing values are filled. auto: up to two hours on a straight line, longer ones as a week "
            "before or after.",
            rich_help_panel=_REPAIRS,
        ),
    ] = Holes.AUTO,
    duplicates: Annotated[
        Duplicates,
        typer.Option("--duplicates", help="Which of different values of a time counts.", rich_help_panel=_REPAIRS),
    ] = Duplicates.ERROR,
    missing_hour: Annotated[
        MissingHour,
        typer.Option("--missing-hour", help="Times that summer time leaves out.", rich_help_panel=_REPAIRS),
    ] = MissingHour.ERROR,
    area: Annotated[
        str | None,
        typer.Option("--area", help="Of a file with several, such as BZN|FR or ES.", rich_help_panel=_VALUES),
    ] = None,
    year: Annotated[
        int | None,
        typer.Option("--year", min=1990, max=2100, help="That a typical year stands for.", rich_help_panel=_TIMES),
    ] = None,
    annual_kwh: Annotated[
        float | None,
        typer.Option("--annual-kwh", min=1, help="Energy of a year, for --as bdew.", rich_help_panel=_VALUES),
    ] = None,
    chargers: Annotated[
        str | None,
        typer.Option(
            "--chargers",
            metavar="ev1,ev2",
            help="Of the site that get the sessions.",
            show_default="all",
            rich_help_panel=_SESSIONS,
        ),
    ] = None,
    capacity_kwh: Annotated[
        float,
        typer.Option("--capacity", min=1, max=10_000, help="kWh of a vehicle's battery.", rich_help_panel=_SESSIONS),
    ] = 60.0,
    target_soc: Annotated[
        float, typer.Option("--target-soc", min=0.1, max=1, help="SOC on departure.", rich_help_panel=_SESSIONS)
    ] = 0.8,
    soc_min: Annotated[
        float, typer.Option("--soc-min", min=0, max=1, help="V2G never goes below.", rich_help_panel=_SESSIONS)
    ] = 0.2,
) -> None:
    """Read a file **as you have it** into a site: load, PV power, prices, CO2, weather, charging sessions.

    Separator, decimal sign, encoding, header, columns, units, steps and the clock are found out where the file leaves
    no doubt, and asked for where it does. What was recognised, assumed and repaired is printed, and kept beside the
    table with a picture.

    Examples:
        twinswarm import load meter.csv
        twinswarm import load meter.csv --site mysite
        twinswarm import price prices.csv --site mysite --unit €/MWh --time-zone UTC
        twinswarm import co2 intensity.csv --site mysite --unit g/kWh
        twinswarm import load --as bdew --column g1 --annual-kwh 80000 --year 2024 --site mysite
    """
    from twinswarm.extras import require

    require("pandas", "python_calamine", "matplotlib")
    from twinswarm.cli.import_output import finish, finish_sessions
    from twinswarm.imports.imported import Imported, ImportedSessions
    from twinswarm.imports.reading import read_file
    from twinswarm.imports.standard_profile import BDEW, without_measurement
    from twinswarm.imports.target import target_of

    output = Output.to(json)
    said = Options(
        shape=shape, column=column, time_column=time_column, unit=unit, reading=reading, stamp=stamp,
        time_zone=time_zone, date_order=date_order, missing_hour=missing_hour, holes=holes, duplicates=duplicates,
        step_s=None if step is None else step_of(step), factor=factor, separator=separator,
        decimal=decimal, encoding=encoding, skip_lines=skip_lines, sheet=sheet, capacity_kwh=capacity_kwh,
        target_soc_frac=target_soc, soc_min_frac=soc_min, area=area, year=year,
        annual_kwh=annual_kwh,
    )  # fmt: skip
    target = target_of(site, out, name or kind.value)
    found: Imported | ImportedSessions
    if file is None or shape == BDEW:
        found = without_measurement(kind, file, target, said)
    else:
        found = read_file(file, kind, target.home, said)
    if isinstance(found, Imported):
        finish(found, said, target, output)
    else:
        finish_sessions(found, said, target, chargers, output)
