"""``plan``: one optimisation of a site."""

from pathlib import Path
from typing import Annotated

import typer

from twinswarm.cli import options
from twinswarm.cli.output import Output, busy
from twinswarm.simulation.variants import Reference, StorageChoice


def plan(
    at: Annotated[
        str,
        typer.Option(
            "--at",
            metavar="HH:MM",
            help="Local time of the plan; it must be the beginning of a step.",
            rich_help_panel="Time",
        ),
    ] = "00:00",
    site: options.SiteOption = options.SITE,
    case: options.CaseOption = None,
    storage: options.StorageOption = StorageChoice.BOTH,
    reference: options.ReferenceOption = Reference.SMART,
    date: options.DateOption = None,
    explain: Annotated[
        bool, typer.Option("--explain", help="Say in sentences why each device is asked for what it is asked for.")
    ] = False,
    certificate: Annotated[
        Path | None,
        typer.Option(
            "--certificate",
            metavar="FILE",
            help="Write what a checker without a solver needs to confirm the plan, see docs/certificates.md.",
            show_default=False,
        ),
    ] = None,
    json: options.JsonOption = None,
) -> None:
    """Optimise a site **once**, and show the plan: objective, every power and SOC, shortfalls.

    A plan needs measurements. So the day is run in memory from local midnight, as with `run` but without a record, and
    the plan that the EMS makes at `--at` is shown. Powers are in kW, positive when drawn from the building's bus; at
    the PCC positive on import. SOC is at the end of each step.

    Examples:
        twinswarm plan  the whole day, seen from midnight
        twinswarm plan --at 10:15 --case 3 --json -
        twinswarm plan --at 13:00 --explain
        twinswarm plan --certificate plan.json  to be confirmed by examples/certificate/check.mjs
    """
    from schemas.site import day_start
    from twinswarm.cli.plan_tables import plan_json, tell_plan
    from twinswarm.cli.plan_words import plan_sentences
    from twinswarm.simulation.certificates import Certificates
    from twinswarm.simulation.one_plan import plan_at
    from twinswarm.simulation.runs import local_instant

    output = Output.to(json)
    chosen = options.variant(site, case, storage, reference)
    course = options.course(chosen.site, date, None)
    moment = local_instant(at, day_start(course.t0, chosen.site.zone), chosen.site, where="--at")
    console = output.console
    with busy(console, f"running the day until {at} …"):
        newest = Certificates()
        found = plan_at(chosen.taking_part, course, moment, newest)
        if certificate is not None:
            newest.write(found, certificate)
    output.write(plan_json(found, chosen.taking_part))
    if explain:
        for sentence in plan_sentences(found, chosen.taking_part):
            console.print(sentence, markup=False, highlight=False)
    else:
        tell_plan(found, chosen.taking_part, console)
