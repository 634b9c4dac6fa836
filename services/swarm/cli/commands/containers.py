"""``compose``: the stack in containers."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from schemas.errors import InputError
from services.swarm.cli import options
from services.swarm.cli.output import DASH
from services.swarm.variants import Reference, StorageChoice

if TYPE_CHECKING:
    from schemas.site import Site

OUT = "compose.yaml"


def compose(
    site: Annotated[str, typer.Argument(metavar="SITE", help="Site description: file, folder or name in the box.")],
    case: options.CaseOption = None,
    storage: options.StorageOption = StorageChoice.BOTH,
    reference: options.ReferenceOption = Reference.SMART,
    out: Annotated[
        str,
        typer.Option(
            "--out",
            metavar="FILE",
            help="The compose file; of one that is there, only what this command wrote is replaced. "
            "- is standard output.",
        ),
    ] = OUT,
) -> None:
    """Write the **compose file of a site**: broker, InfluxDB, Grafana, and a container for each device and service.

    The site's resolved description is written beside it as SITE.site.json, from where containers read it; sites in
    the box are in the image. What an operator sets are variables, listed in .env.example.

    Examples:
        twinswarm compose fit_g2v
        twinswarm compose mysite --out stack/compose.yaml
        TWINSWARM_SOURCE=.. docker compose --project-directory stack run --rm provision
        docker compose --project-directory stack --profile sim up -d --wait
    """
    from services.swarm.stack.compose_file import MARK, StackOrder, compose_file
    from sites.loading import builtin_sites, load_site

    order = StackOrder(load_site(site), site, site in builtin_sites(), case, storage, reference)
    text = compose_file(order)
    if out == DASH:
        if order.site_file is not None:
            what = f"{order.site_file} has to stand beside the compose file; name a file"
            raise InputError.one("--out", what, out)
        sys.stdout.write(text)
        return
    target = Path(out)
    if target.exists() and not (target.is_file() and MARK in target.read_text(encoding="utf-8", errors="replace")):
        raise InputError.one("--out", "is there, and this command did not write it; give another name", out)
    if order.site_file is None:
        _write(target, text)
        return
    described = target.parent / order.site_file
    if not _is_resolved(described, order.site):
        what = f"{described} is there, and this command did not write it; give another name to it, or a folder to --out"
        raise InputError.one("--out", what, out)
    _write(target, text)
    _write(described, _resolved(order.site))


def _resolved(site: "Site") -> str:
    return site.model_dump_json(indent=1) + "\n"


def _is_resolved(path: Path, site: "Site") -> bool:
    """Whether nothing is lost by writing the site's description there: it has been written by this command, which
    writes every field, or there is nothing yet."""
    from schemas.site import Site

    try:
        text = path.read_text(encoding="utf-8")
        there = Site.model_validate_json(text)
    except FileNotFoundError:
        return True
    except (OSError, ValueError):
        return False
    return there.site == site.site and text == _resolved(there)


def _write(path: Path, text: str) -> None:
    """Readable by all, containers among them: there is no secret in it."""
    try:
        path.write_text(text, encoding="utf-8")
        path.chmod(0o644)
    except OSError as error:
        raise InputError.one("--out", f"cannot be written: {error.strerror}", str(path)) from None
    typer.echo(path)
