"""``init``, ``site resolve`` and ``schema``: files to start from, and the one that services share."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from schemas.errors import Code, InputError
from twinswarm.cli import options
from twinswarm.cli.output import DASH
from twinswarm.simulation.variants import Reference, StorageChoice

_PLACE, _PLANT, _FILES = "Place and connection", "Plant", "Files, read as `twinswarm import` reads them"


def init(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of the new site; made if need be.")],
    latitude: Annotated[
        float | None, typer.Option("--latitude", min=-90, max=90, help="Degrees north.", rich_help_panel=_PLACE)
    ] = None,
    longitude: Annotated[
        float | None, typer.Option("--longitude", min=-180, max=180, help="Degrees east.", rich_help_panel=_PLACE)
    ] = None,
    time_zone: Annotated[
        str | None, typer.Option("--time-zone", metavar="ZONE", help="Europe/Vienna.", rich_help_panel=_PLACE)
    ] = None,
    country: Annotated[
        str | None, typer.Option("--country", metavar="AT", help="For its public holidays.", rich_help_panel=_PLACE)
    ] = None,
    import_limit: Annotated[
        float, typer.Option("--import-limit", metavar="KW", min=0.1, help="Of the connection.", rich_help_panel=_PLACE)
    ] = 100.0,
    export_limit: Annotated[
        float | None,
        typer.Option("--export-limit", metavar="KW", min=0, show_default="as import", rich_help_panel=_PLACE),
    ] = None,
    spread: Annotated[
        float,
        typer.Option("--spread", metavar="€/KWH", min=0, help="Purchase above the sale price.", rich_help_panel=_PLACE),
    ] = 0.12,
    demand_charge: Annotated[
        float | None,
        typer.Option("--demand-charge", metavar="€/KW", min=0, help="Of a month's peak.", rich_help_panel=_PLACE),
    ] = None,
    pv: Annotated[
        list[str] | None,
        typer.Option("--pv", metavar="KWP:TILT:AZIMUTH", help="A roof; may be repeated.", rich_help_panel=_PLANT),
    ] = None,
    charger: Annotated[
        list[str] | None,
        typer.Option("--charger", metavar="4x11|2x22:22", help="Chargers; with kW back: V2G.", rich_help_panel=_PLANT),
    ] = None,
    bess: Annotated[
        str | None, typer.Option("--bess", metavar="KWH:KW", help="The battery.", rich_help_panel=_PLANT)
    ] = None,
    economics: Annotated[
        list[str] | None,
        typer.Option(
            "--economics",
            metavar="FIELD=PRICE",
            help="What storage costs, [docs/size.md](docs/size.md): v2g_charger_eur=2500; may be repeated.",
            rich_help_panel=_PLANT,
        ),
    ] = None,
    load: Annotated[Path | None, typer.Option("--load", metavar="FILE", rich_help_panel=_FILES)] = None,
    price: Annotated[Path | None, typer.Option("--price", metavar="FILE", rich_help_panel=_FILES)] = None,
    weather: Annotated[Path | None, typer.Option("--weather", metavar="FILE", rich_help_panel=_FILES)] = None,
    sessions: Annotated[Path | None, typer.Option("--sessions", metavar="FILE", rich_help_panel=_FILES)] = None,
    year: Annotated[
        int | None, typer.Option("--year", help="That typical weather stands for.", rich_help_panel=_FILES)
    ] = None,
    ask: Annotated[bool, typer.Option("--ask", help="Ask for what no option says.")] = False,
) -> None:
    """Write a **site to start from** that runs as it is.

    Without options it is a commented template. With a location it is a site of your own numbers and
    files ([docs/import.md](docs/import.md)). No existing file is overwritten.

    Examples:
        twinswarm init mysite
        twinswarm init office --latitude 48.2 --longitude 16.4 --time-zone Europe/Vienna --pv 60:15:180 --charger 4x11
        twinswarm init office --ask
    """
    from sites.loader.template import write_template

    if not ask and latitude is None and longitude is None and time_zone is None:
        beside = {"--pv": pv, "--charger": charger, "--bess": bess, "--load": load, "--price": price,
                  "--economics": economics, "--weather": weather, "--sessions": sessions}  # fmt: skip
        if given := [name for name, value in beside.items() if value]:
            what = "needs --latitude, --longitude and --time-zone, or --ask"
            raise InputError.one(given[0], what, code=Code.MISSING)
        for path in write_template(directory):
            typer.echo(path)
        return
    from twinswarm.cli.new_site import Asked, make_site

    make_site(
        directory,
        Asked(
            latitude, longitude, time_zone, country, import_limit, export_limit, spread, demand_charge, tuple(pv or ()),
            tuple(charger or ()), bess, {"load": load, "price": price, "weather": weather, "sessions": sessions}, year,
            tuple(economics or ()),
        ),
        ask=ask,
    )  # fmt: skip


def resolve(
    site: Annotated[
        str, typer.Argument(metavar="[SITE]", help="Site description: file, folder or name in the box.")
    ] = options.SITE,
    case: options.CaseOption = None,
    storage: options.StorageOption = StorageChoice.BOTH,
    reference: options.ReferenceOption = Reference.SMART,
    out: Annotated[
        str, typer.Option("--out", "-o", metavar="FILE", help="The resolved site. - is standard output.")
    ] = DASH,
) -> None:
    """Write the **one site that all services of a run share**, as JSON: a case, its storage, profiles included.

    Every service command takes it as `--site FILE`, so all of them run the same variant of the site.

    Examples:
        twinswarm site resolve --case 3 --storage bess > site.json
        twinswarm clock --site site.json
        twinswarm ems --site site.json
    """
    resolved = options.variant(site, case, storage, reference).taking_part.model_dump_json(indent=1) + "\n"
    if out == DASH:
        sys.stdout.write(resolved)
        return
    try:
        Path(out).write_text(resolved, encoding="utf-8")
    except OSError as error:
        raise InputError.one("--out", f"cannot be written: {error.strerror}", out, code=Code.UNWRITABLE) from None
    typer.echo(out)


def schema(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Folder for the files; made if need be.")],
) -> None:
    """Write the **JSON Schemas** of every message and of the site description, and all channels as AsyncAPI 3.

    A device or a consumer in any language needs these files and an MQTT client, nothing of this program.
    asyncapi.json also lists the channels, with their senders and receivers.

    Examples:
        twinswarm schema schemas-json
    """
    from schemas.asyncapi import write_asyncapi
    from schemas.export import write_schemas
    from sites.json_schema import site_schema

    for path in (*write_schemas(directory, {"site": site_schema()}), write_asyncapi(directory)):
        typer.echo(path)
