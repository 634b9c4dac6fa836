"""The commands, in groups, and what is said of them all."""

from collections.abc import Callable
from typing import Annotated

import typer

from twinswarm.cli.commands import (
    attribute,
    checks,
    compare,
    conform,
    containers,
    dashboards,
    days,
    devices,
    doctor,
    drivers,
    event,
    feeds,
    files,
    forecast,
    ghosts,
    histories,
    homeassistant,
    identify,
    imports,
    influx,
    league,
    limit,
    limiter,
    manual,
    members,
    plans,
    prices,
    provision,
    replay,
    savings,
    size,
    study,
    sunspec,
    tradeoff,
    upgrade,
    year,
)
from twinswarm.cli.documentation import help_text

app = typer.Typer(
    rich_markup_mode="rich",
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 done, 1 the run failed, 2 the input is wrong. "
    "Units: kW, kWh, €, €/kWh; SOC as a fraction; power is positive when drawn from the building's bus, "
    "at the PCC (point of common coupling) when imported.",
)

_DAY, _SITE, _RECORD, _SERVICES = "Run a day", "Look at a site", "Look at what was recorded", "The services alone"

_GROUPS: dict[str, tuple[Callable[..., None], ...]] = {
    _DAY: (
        days.up,
        days.run,
        plans.plan,
        compare.compare,
        attribute.attribute,
        tradeoff.tradeoff,
        year.year,
        size.size,
        league.league,
        study.study,
        study.calibrate,
    ),
    _SITE: (
        checks.check,
        files.init,
        files.schema,
        prices.prices,
        feeds.feeds,
        containers.compose,
        devices.devices,
        doctor.doctor,
        conform.conform,
        event.event,
    ),
    _RECORD: (
        histories.report,
        savings.savings,
        histories.export,
        replay.replay,
        identify.identify,
        ghosts.ghosts,
        influx.init_history,
        influx.downsample,
        dashboards.dashboards,
    ),
}
for panel, commands in _GROUPS.items():
    for command in commands:
        app.command(help=help_text(command.__doc__), rich_help_panel=panel)(command)

app.command("upgrade-check", help=help_text(upgrade.upgrade_check.__doc__), rich_help_panel=_RECORD)(
    upgrade.upgrade_check
)
# A negative power is no option: what begins with a dash and is none is the argument.
app.command(
    "set",
    help=help_text(manual.set_point.__doc__),
    rich_help_panel=_SITE,
    context_settings={"ignore_unknown_options": True},
)(manual.set_point)
app.command("import", help=help_text(imports.import_.__doc__), rich_help_panel=_SITE)(imports.import_)
app.command("map", help=help_text(drivers.map_.__doc__), rich_help_panel=_SITE)(drivers.map_)
app.command(help=help_text(sunspec.sunspec.__doc__), rich_help_panel=_SITE)(sunspec.sunspec)
app.add_typer(provision.app, name="provision", help=help_text(provision.site.__doc__), rich_help_panel=_SITE)

site = typer.Typer(no_args_is_help=True)
for about in (files.resolve, checks.check, files.init):
    site.command(help=help_text(about.__doc__))(about)
app.add_typer(
    site,
    name="site",
    help=help_text("Site descriptions: **resolve** one for the services of a run; check and init as above."),
    rich_help_panel=_SITE,
)

_ALONE: dict[str, Callable[..., None]] = {
    "twin": members.twin,
    "drive": drivers.drive,
    "network": members.network,
    "ems": members.ems,
    "tariff": members.tariff,
    "recorder": members.recorder,
    "clock": members.clock,
    "limit": limit.limit,
    "limiter": limiter.limiter,
    "forward": influx.forward,
    "homeassistant": homeassistant.homeassistant,
}
for name, service in _ALONE.items():
    app.command(name, help=help_text(service.__doc__), rich_help_panel=_SERVICES)(service)

forecasts = typer.Typer(cls=forecast.ServedByDefault)
forecasts.command("serve", help=help_text(members.forecast.__doc__))(members.forecast)
forecasts.command(help=help_text(forecast.evaluate.__doc__))(forecast.evaluate)
forecasts.command(help=help_text(forecast.departures.__doc__))(forecast.departures)
app.add_typer(
    forecasts,
    name="forecast",
    help=help_text(
        "Run the **forecast**, which is what it does without a subcommand; or **evaluate** a site's forecasts."
    ),
    rich_help_panel=_SERVICES,
)


def _version(wanted: bool) -> None:
    if wanted:
        from schemas.participant import software

        typer.echo(software())
        raise typer.Exit


def twinswarm(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and end.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """A building with PV, battery and V2G chargers as a **swarm of services on MQTT**.

    Every device is a twin: a process that publishes telemetry and obeys set-points. An EMS optimises every
    quarter-hour. A recorder keeps every message. From its history come cost, savings and peak shaving. A real device
    takes a twin's place by publishing the same messages.

    Examples:
        twinswarm up              a day of the default site; the result is a table and a report
        twinswarm run --case 3    the same day in case 3, in memory
        twinswarm init mysite     a site of your own: edit mysite/site.yaml,
        twinswarm check mysite    look for faults,
        twinswarm up --site mysite
    """
    del version


app.callback(help=help_text(twinswarm.__doc__))(twinswarm)
