"""``feeds``: tries what a site's feeds deliver now."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from twinswarm.cli import options
from twinswarm.cli.output import Output, busy

if TYPE_CHECKING:
    from schemas.site import Site
    from services.feeds.reading import Reading


def feeds(
    site: Annotated[str, typer.Argument(metavar="SITE", help="Site description: a file or a folder.")],
    json: options.JsonOption = None,
) -> None:
    """Ask each of a site's **feeds** once, and show what it delivers: times, step, values, holes.

    Exit code 1 if one of them delivers nothing that can be used.

    Examples:
        twinswarm feeds mysite
    """
    from schemas.errors import Code, InputError
    from services.feeds.fetch import FetchError
    from services.feeds.reading import BadAnswerError
    from services.feeds.source import ask
    from sites.loader import load_description

    output = Output.to(json)
    chosen = load_description(site)
    if not chosen.feeds:
        raise InputError.one("SITE", f"the site {chosen.site} has no feeds; see docs/feeds.md", code=Code.MISSING)
    found: dict[str, Any] = {}
    for name, feed in chosen.feeds.items():
        try:
            with busy(output.console, f"asking {feed.type} for {name} …"):
                reading = ask(feed, chosen.location, datetime.now(UTC))
        except (FetchError, BadAnswerError) as error:
            found[name] = {"type": feed.type, "trouble": str(error)}
            output.console.print(f"{name}: {error}", markup=False, soft_wrap=True)
        else:
            found[name] = {"type": feed.type, **_json(reading)}
            output.console.print(f"{name}: {_words(reading, chosen)}", markup=False, soft_wrap=True)
    output.write({"site": chosen.site, "feeds": found})
    if any("trouble" in each for each in found.values()):
        raise typer.Exit(1)


def _json(reading: "Reading") -> dict[str, Any]:
    return {
        "start": reading.start.isoformat(),
        "step_s": reading.step_s,
        "values": list(reading.values),
        "holes": [time.isoformat() for time in reading.holes],
    }


def _words(reading: "Reading", site: "Site") -> str:
    known = [value for value in reading.values if value is not None]
    profile, _ = reading.profile("")
    begin, end = (time.astimezone(site.zone).strftime("%Y-%m-%d %H:%M") for time in (profile.begin, profile.end))
    holes = f", {len(reading.holes)} of them missing" if reading.holes else ""
    return (
        f"{len(reading.values)} values every {reading.step_s} s from {begin} to {end} local time{holes}; "
        f"between {min(known):.4g} and {max(known):.4g}"
    )
