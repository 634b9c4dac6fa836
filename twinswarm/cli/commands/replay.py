"""``replay``: a recorded decision of the EMS, taken again, and what it would have been otherwise."""

from collections.abc import Callable
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from schemas.errors import Code, InputError, RunFailedError
from twinswarm.cli import options
from twinswarm.cli.commands.histories import checked
from twinswarm.cli.output import Output, busy

if TYPE_CHECKING:
    from rich.console import Console

    from twinswarm.simulation.certificates import Certificates
    from twinswarm.simulation.decisions import Decisions, Moment, Outcome
    from twinswarm.simulation.forks import Fork

_FORK = "Fork"
_TIMES = "10:15, 2024-05-17T10:15 or, with a zone, 2024-05-17T08:15Z"


def replay(
    history: options.RecordedOption = options.HISTORY,
    run: options.RunOption = "latest",
    at: Annotated[
        str | None,
        typer.Option(
            "--at",
            metavar="TIME",
            help=f"Local time; the plan that was in force then is made again: {_TIMES}.",
            show_default="the last plan",
            rich_help_panel="Time",
        ),
    ] = None,
    every: Annotated[
        bool, typer.Option("--all", help="Make every plan of the run again, and count.", rich_help_panel="Time")
    ] = False,
    tariff: Annotated[
        str | None,
        typer.Option(
            "--tariff",
            metavar="FILE|NAME",
            help="Fork: with the prices and the demand charge of this site description.",
            show_default=False,
            rich_help_panel=_FORK,
        ),
    ] = None,
    site: Annotated[
        str | None,
        typer.Option(
            "--site",
            metavar="FILE|NAME",
            help="Fork: an EMS of this site description, with its limits, options and tariff.",
            show_default=False,
            rich_help_panel=_FORK,
        ),
    ] = None,
    without: Annotated[
        list[str] | None,
        typer.Option(
            "--without",
            metavar="DEVICE",
            help="Fork: a charger whose vehicle has left, or another device that is not there. May be repeated.",
            show_default=False,
            rich_help_panel=_FORK,
        ),
    ] = None,
    algorithm: Annotated[
        str | None,
        typer.Option(
            "--algorithm",
            metavar="FILE.py:FUNCTION",
            help="A function of your own in place of the optimiser, see docs/own-ems.md. Needed to repeat the plans of "
            "one; of the optimiser's it is a fork.",
            show_default=False,
            rich_help_panel=_FORK,
        ),
    ] = None,
    other_version: Annotated[
        bool,
        typer.Option(
            "--other-version",
            help="Fork: this version of the program decides, although another one did on the day.",
            rich_help_panel=_FORK,
        ),
    ] = False,
    certificates: Annotated[
        Path | None,
        typer.Option(
            "--certificates",
            metavar="DIR",
            help="Write a file for each plan with what a checker without a solver needs, see docs/certificates.md.",
            show_default=False,
        ),
    ] = None,
    json: options.JsonOption = None,
) -> None:
    """Restore the EMS as it was and take a **recorded decision again**: the plan and its set-points, byte for byte.

    Exit code 1 if they are not those of the history. With an option of a fork the two plans stand beside each other,
    with what the fork costs more. The history is only read.

    Examples:
        twinswarm replay --at 10:15
        twinswarm replay --all --json -
        twinswarm replay --all --certificates proofs
        twinswarm replay --at 10:15 --without ev2  as if the car had left
        twinswarm replay --at 2024-05-17T10:15 --tariff mysite/site.yaml
    """
    from twinswarm.simulation.certificates import Certificates
    from twinswarm.simulation.decisions import Decisions
    from twinswarm.simulation.forks import Fork
    from twinswarm.simulation.histories import open_history

    output = Output.to(json)
    fork = Fork(
        None if site is None else options.resolved_site(site),
        None if tariff is None else options.resolved_site(tariff),
        tuple(without or ()),
    )
    forked = not fork.changes_nothing or other_version
    if every and (forked or at is not None):
        given = {"--at": at, "--site": site, "--tariff": tariff, "--without": without}
        options.refuse_beside("--all", {**given, "--other-version": other_version or None})
    own = _algorithm(algorithm)
    with closing(open_history(checked(history))) as opened:
        info = opened.latest() if run == "latest" else opened.info(run)
        decisions = Decisions(opened, info.run)
        proofs = None if certificates is None else Certificates(options.folder(certificates))
        if every:
            _tell_all(decisions, own, proofs, output)
            return
        plan = decisions.plans[-1] if at is None else decisions.plan_of(_time(at, decisions))
        with busy(output.console, "restoring the EMS …"):
            moment = decisions.moment(plan)
            outcome = _decided(decisions, moment, fork, own, proofs, other_version=other_version)
            if proofs is not None:
                proofs.write(outcome.plan, moment.turn.t)
        by_other = own is not None and not _by_algorithm(moment)
        if forked or by_other:
            _tell_fork(decisions, moment, outcome, fork, output)
        else:
            _tell(decisions, moment, outcome, output)


def _decided(
    decisions: "Decisions",
    moment: "Moment",
    fork: "Fork",
    own: Any,
    proofs: "Certificates | None",
    *,
    other_version: bool = False,
) -> "Outcome":
    from twinswarm.simulation.decisions import check_origin, decide

    check_origin(moment, any_version=other_version, any_site=fork.site is not None)
    if fork.changes_nothing and not other_version:
        _check_algorithm(moment, own)
    return decide(decisions.ems(fork.site_at(moment), own, proofs), moment, fork.learnt(moment))


def _check_algorithm(moment: "Moment", own: Any) -> None:
    """Raises InputError when an algorithm made the plan that is to be repeated, and none is given."""
    if own is None and _by_algorithm(moment):
        what = "an algorithm of somebody's own made this plan: give it by --algorithm FILE.py:FUNCTION"
        raise InputError.one("--algorithm", what, moment.recorded.reason, code=Code.MISSING)


def _tell(decisions: "Decisions", moment: "Moment", outcome: "Outcome", output: Output) -> None:
    from twinswarm.cli.plan_tables import plan_json, tell_plan
    from twinswarm.simulation.decisions import differences

    found = differences(moment, outcome)
    output.write({**_head(decisions, moment), "differences": found, "plan": plan_json(outcome.plan, moment.site)})
    tell_plan(outcome.plan, moment.site, output.console)
    if found:
        raise RunFailedError(f"the decision is not that of the history: {'; '.join(found)}")
    _say(output.console, f"Repeated byte for byte: the plan and {len(outcome.setpoints)} set-points")
    _say_origin(decisions, moment, output.console)


def _tell_fork(decisions: "Decisions", moment: "Moment", outcome: "Outcome", fork: "Fork", output: Output) -> None:
    from twinswarm.cli.fork_tables import cost_eur, fork_json, tell_fork
    from twinswarm.cli.plan_tables import number, plan_json

    recorded = plan_json(moment.recorded, moment.site)
    output.write({**_head(decisions, moment), "plan": recorded, "fork": fork_json(outcome, moment)})
    tell_fork(outcome, moment, moment.site, output.console)
    names = [*(["another site"] if fork.site else []), *(["another tariff"] if fork.tariff else [])]
    names += [f"without {device}" for device in fork.without]
    difference = number(cost_eur(outcome.plan) - cost_eur(moment.recorded), 4)
    _say(output.console, f"Fork ({', '.join(names) or 'another EMS'}): {difference} € more to the end of the plan")
    _say_origin(decisions, moment, output.console)


def _tell_all(decisions: "Decisions", own: Any, proofs: "Certificates | None", output: Output) -> None:
    from twinswarm.simulation.decisions import Unrepeatable, check_origin, decide, differences

    failed: list[dict[str, str]] = []
    ems = decisions.ems(algorithm=own, certificates=proofs)
    with busy(output.console, "taking every decision again …"):
        for found in decisions.moments():
            if isinstance(found, Unrepeatable):
                failed.append({"at": found.plan.stamp.ts.isoformat(), "why": str(found.error)})
                continue
            check_origin(found)
            _check_algorithm(found, own)
            outcome = decide(ems, found)
            if proofs is not None and proofs.has(outcome.plan):
                proofs.write(outcome.plan, found.turn.t)
            if why := differences(found, outcome):
                failed.append({"at": found.turn.t.isoformat(), "why": "; ".join(why)})
    count = len(decisions.plans)
    written = {} if proofs is None else {"certificates": proofs.written}
    output.write(
        {"run": decisions.info.run, "plans": count, "repeated": count - len(failed), "failed": failed} | written
    )
    for each in failed:
        local = datetime.fromisoformat(each["at"]).astimezone(decisions.site.zone)
        _say(output.console, f"{local:%Y-%m-%d %H:%M:%S}  {each['why']}")
    _say(output.console, f"{count - len(failed)} of {count} plans repeated byte for byte, with their set-points")
    if proofs is not None:
        _say(output.console, f"{proofs.written} certificates; without one: {count - proofs.written} plans, not solved")
    _say(output.console, f"Run {decisions.info.run}, {decisions.info.mode}")
    if failed:
        raise RunFailedError(f"{len(failed)} of {count} plans are not repeated")


def _head(decisions: "Decisions", moment: "Moment") -> dict[str, Any]:
    return {
        "run": decisions.info.run,
        "mode": decisions.info.mode.value,
        "at": moment.turn.t.isoformat(),
        "software": moment.software,
    }


def _say_origin(decisions: "Decisions", moment: "Moment", console: "Console") -> None:
    local = moment.turn.t.astimezone(moment.site.zone)
    _say(console, f"Decided {local:%Y-%m-%d %H:%M:%S} by {moment.software}, run {decisions.info.run}")


def _say(console: "Console", text: str) -> None:
    console.print(text, markup=False, soft_wrap=True)


def _by_algorithm(moment: "Moment") -> bool:
    from twinswarm.simulation.decisions import is_by_algorithm

    return is_by_algorithm(moment.recorded)


def _algorithm(text: str | None) -> "Callable[..., Any] | None":
    if text is None:
        return None
    from twinswarm.deploy.algorithm_file import load_algorithm

    return load_algorithm(text)


def _time(text: str, decisions: "Decisions") -> datetime:
    """Raises InputError for what is no time, and for a time of day in a run of several days."""
    zone = decisions.site.zone
    first, last = (plan.stamp.ts.astimezone(zone).date() for plan in (decisions.plans[0], decisions.plans[-1]))
    try:
        if "T" not in text and " " not in text and ":" in text:
            time = datetime.strptime(text, "%H:%M").time()
            if first != last:
                what = f"the run is of {first} to {last}: give the date, too, as {last}T{text}"
                raise InputError.one("--at", what, text, code=Code.CONFLICT)
            return datetime.combine(first, time, zone)
        found = datetime.fromisoformat(text)
    except ValueError:
        raise InputError.one("--at", f"a time is written {_TIMES}", text, code=Code.FORMAT) from None
    return found.replace(tzinfo=zone) if found.tzinfo is None else found
