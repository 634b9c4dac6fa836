"""``check``: validates site descriptions."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from twinswarm.cli import options
from twinswarm.cli.output import Output, complain, fault_json

if TYPE_CHECKING:
    from schemas.errors import Fault


def check(
    files: Annotated[
        list[str],
        typer.Argument(metavar="FILE", help="Site descriptions: files, folders, or names of sites in the box."),
    ],
    json: options.JsonOption = None,
) -> None:
    """Validate site descriptions: **every fault at once**, or a summary of the site.

    A fault names the file, the line, the field, the value received and the values allowed. Exit code 2 if there is one.
    So are fallbacks that are together above the connection, a group of `cable_limits`, a cable or the transformer: what
    all devices do when no EMS speaks.

    Examples:
        twinswarm check site.yaml
        twinswarm check fit_g2v carpark --json -
    """
    from schemas.errors import InputError
    from schemas.fallbacks import fallback_faults
    from sites.loader import load_description
    from twinswarm.cli.site_tables import site_json, tell_site
    from twinswarm.simulation.coverage import impossible_weather

    output = Output.to(json)
    faults: list[Fault] = []
    found: list[dict[str, Any]] = []
    for file in files:
        try:
            site = load_description(file)
            wrong = [*impossible_weather(site), *fallback_faults(site)]
        except InputError as error:
            wrong = list(error.faults)
        if wrong:
            faults += wrong
            found.append({"file": file, "valid": False, "faults": [fault_json(fault) for fault in wrong]})
        else:
            tell_site(site, file, output.console)
            found.append({"file": file, "valid": True, "faults": [], **site_json(site)})
    output.write({"valid": not faults, "sites": found})
    if faults:
        raise typer.Exit(complain(InputError(faults)))
