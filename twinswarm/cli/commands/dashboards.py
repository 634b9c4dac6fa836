"""``dashboards``: Grafana's provisioning, for a Grafana of one's own."""

from pathlib import Path
from typing import Annotated

import typer

from schemas.errors import Code, InputError
from twinswarm.cli.commands.influx import BUCKET, ORG, URL, BucketOption, OrgOption, UrlOption, check_url

_GRAFANA = "Grafana"


def dashboards(
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder for the files; made if need be.")],
    path: Annotated[
        str | None,
        typer.Option(
            "--path",
            metavar="DIR",
            help="The folder as Grafana sees it: its provisioning folder (GF_PATHS_PROVISIONING).",
            show_default="the folder of --out",
            rich_help_panel=_GRAFANA,
        ),
    ] = None,
    token_path: Annotated[
        str,
        typer.Option(
            "--token-path",
            metavar="FILE",
            help="File in which Grafana finds a token that may read the buckets; the token itself is not written.",
            rich_help_panel=_GRAFANA,
        ),
    ] = "/run/secrets/twinswarm/token",  # noqa: S107 - where it is, not what it is
    influx: UrlOption = URL,
    org: OrgOption = ORG,
    bucket: BucketOption = BUCKET,
) -> None:
    """Write **Grafana's data source and dashboards** for a Grafana of your own. The stack's has them already.

    Grafana reads the folder when it starts. The dashboards are in its folder twinswarm; begin with Runs.

    Examples:
        twinswarm dashboards --out grafana --path /etc/grafana/provisioning --token-path /etc/grafana/influx-token
    """
    from services import dashboards
    from services.influx.forward import bucket_of

    check_url(influx)
    seen = path or str(out.absolute())
    place = dashboards.Place(influx, org, bucket_of(bucket, simulated=True), token_path, seen.rstrip("/"))
    for name, content in dashboards.files(place).items():
        file = out / name
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
        except OSError as error:
            raise InputError.one(
                "--out", f"a folder that can be written ({error.strerror})", str(file), code=Code.UNWRITABLE
            ) from None
        typer.echo(file)
