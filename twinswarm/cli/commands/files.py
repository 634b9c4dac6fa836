"""``init``, ``site resolve`` and ``schema``: files to start from, and the one that services share."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from schemas.errors import Code, InputError
from twinswarm.cli import options
from twinswarm.cli.output import DASH
from twinswarm.simulation.variants import Reference, StorageChoice


def init(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of the new site; made if need be.")],
) -> None:
    """Write a **commented site** to start from: site.yaml and its profiles as CSV.

    No existing file is overwritten.

    Examples:
        twinswarm init mysite
        twinswarm check mysite && twinswarm run --site mysite
    """
    from sites.loader.template import write_template

    for path in write_template(directory):
        typer.echo(path)


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
