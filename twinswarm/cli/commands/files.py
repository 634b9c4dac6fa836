"""``init`` and ``schema``: files to start from."""

from pathlib import Path
from typing import Annotated

import typer


def init(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of the new site; made if need be.")],
) -> None:
    """Write a **commented site** to start from: site.yaml and its profiles as CSV.

    Nothing that is there is overwritten.

    Examples:
        twinswarm init mysite
        twinswarm check mysite && twinswarm run --site mysite
    """
    from sites.loader.template import write_template

    for path in write_template(directory):
        typer.echo(path)


def schema(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Folder for the files; made if need be.")],
) -> None:
    """Write the **JSON Schemas** of every message and of the site description, and the bus as AsyncAPI 3.

    A device or a consumer in any language needs these and an MQTT client, nothing of this program. asyncapi.json says
    besides which channels there are, and who sends and receives what.

    Examples:
        twinswarm schema schemas-json
    """
    from schemas.asyncapi import write_asyncapi
    from schemas.export import write_schemas

    for path in (*write_schemas(directory), write_asyncapi(directory)):
        typer.echo(path)
