"""``compose``: the stack in containers."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from schemas.errors import Code, InputError
from twinswarm.cli import options
from twinswarm.cli.output import DASH
from twinswarm.simulation.variants import Reference, StorageChoice, resolve

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
            help="The compose file. An existing file is replaced only if this command wrote it. - is standard output.",
        ),
    ] = OUT,
) -> None:
    """Write the **compose file of a site**: broker, InfluxDB, Grafana, and a container for each device and service.

    All containers read one site. A site in the box without a variant is in the image; any other is written, resolved,
    beside the compose file as SITE.site.json. The operator's settings are variables, listed in .env.example.

    Examples:
        twinswarm compose fit_g2v
        twinswarm compose fit_g2v --case 3 --storage v2g --out stack/compose.yaml
        twinswarm compose mysite --out stack/compose.yaml
        TWINSWARM_SOURCE=.. docker compose --project-directory stack run --rm provision
        docker compose --project-directory stack --profile sim up -d --wait
    """
    from sites.loader import builtin_sites, load_description
    from twinswarm.deploy.stack.compose_file import MARK, StackOrder, compose_file

    chosen = {"--case": case, "--storage": storage, "--reference": reference}
    defaults = {"--case": None, "--storage": StorageChoice.BOTH, "--reference": Reference.SMART}
    variant = {option: value for option, value in chosen.items() if value is not None and value != defaults[option]}
    order = StackOrder(
        site=resolve(load_description(site), case, storage, reference),
        given=" ".join([site, *(f"{option} {value}" for option, value in variant.items())]),
        in_the_image=site if site in builtin_sites() and not variant else None,
    )
    text = compose_file(order)
    if out == DASH:
        if order.site_file is not None:
            what = f"{order.site_file} has to stand beside the compose file; name a file"
            raise InputError.one("--out", what, out, code=Code.CONFLICT)
        sys.stdout.write(text)
        return
    target = Path(out)
    if target.exists() and not (target.is_file() and MARK in target.read_text(encoding="utf-8", errors="replace")):
        raise InputError.one(
            "--out", "is there, and this command did not write it; give another name", out, code=Code.EXISTS
        )
    if order.site_file is None:
        _write(target, text)
        return
    described = target.parent / order.site_file
    if not _may_replace(described, order.site_text):
        what = f"{described} is there, and this command did not write it; give another name to it, or a folder to --out"
        raise InputError.one("--out", what, out, code=Code.EXISTS)
    _write(target, text)
    _write(described, order.site_text)


def _may_replace(path: Path, resolved: str) -> bool:
    """Whether there is nothing yet, or a description of this site as this command lays it out. By how it begins: a
    later version of the program writes other fields, and replaces what an earlier one wrote."""
    try:
        text = path.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return True
    except (OSError, UnicodeDecodeError):
        return False
    return text.splitlines()[:2] == resolved.splitlines()[:2]


def _write(path: Path, text: str) -> None:
    """Readable by all, containers among them: there is no secret in it. Its folder is made if need be."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        path.chmod(0o644)
    except OSError as error:
        raise InputError.one("--out", f"cannot be written: {error.strerror}", str(path), code=Code.UNWRITABLE) from None
    typer.echo(path)
