"""``drive``: a real device takes its twin's place. ``map``: what the site's mapping reads of it."""

import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from broker.address import Credentials
from schemas.errors import Code, InputError
from twinswarm.cli import options
from twinswarm.cli.commands.members import CheckpointsOption, OnceOption, log_start
from twinswarm.cli.output import Output
from twinswarm.deploy.process import Life, stop_event

if TYPE_CHECKING:
    from services.drivers.link import Measured

DeviceArgument = Annotated[str, typer.Argument(metavar="DEVICE", help="A device of the site that has a driver.")]


DevicesArgument = Annotated[
    list[str], typer.Argument(metavar="DEVICE...", help="Devices of the site that have drivers; they share a process.")
]


def drive(
    devices: DevicesArgument,
    site: options.ResolvedSiteOption = options.SITE,
    broker: options.BrokerOption = options.BROKER,
    checkpoints: CheckpointsOption = None,
    once: OnceOption = False,
    cafile: options.CafileOption = None,
    cert: options.CertOption = None,
    key: options.KeyOption = None,
    certificates: options.CertificatesOption = None,
    username: options.UsernameOption = None,
    password_file: options.PasswordFileOption = None,
    heartbeat: options.HeartbeatOption = None,
) -> None:
    """Run the **driver of a real device**, or of several, in the place of their twins and in wall time.

    The device's `driver` in the site says how it is reached. Set-points, their expiry and fallback are handled as by
    the twins. `--broker` is the swarm's. The OCPP chargers of a site share one central system: name them together.

    Examples:
        twinswarm drive meter --site mysite --broker mqtt://127.0.0.1:1883 --checkpoints state
        twinswarm drive ev1 ev2 --site mysite --broker mqtt://127.0.0.1:1883 --checkpoints state
    """
    from twinswarm.deploy.drivers import all_driven
    from twinswarm.deploy.hosting import host

    chosen = options.resolved_site(site)
    makers = all_driven(chosen, devices)
    if certificates is None:
        connection = options.connection(broker, cafile, cert, key, username, password_file)
    else:
        proofs = Credentials(cafile, cert, key, username, password_file)
        connection = options.certified_connection(broker, certificates, proofs)
    if len(makers) > 1 and cert is not None:
        what = "is one client's, and each device is a client of its own; use --certificates"
        raise InputError.one("--cert", what, str(cert), code=Code.CONFLICT)
    log_start(", ".join(makers), chosen, connection)
    life = Life(once=once, heartbeat=heartbeat)
    host(makers, chosen, connection, checkpoints, life, stop_event(life))


def map_(
    device: DeviceArgument,
    site: options.ResolvedSiteOption = options.SITE,
    seconds: Annotated[
        float, typer.Option("--wait", min=0.5, max=3600, metavar="SECONDS", help="How long to listen.")
    ] = 15.0,
    json: options.JsonOption = None,
) -> None:
    """Listen to a real device, and show what the **mapping** of its driver reads: values in kW, kWh, fractions.

    Nothing is commanded, and the swarm need not run. Exit code 1 if no power was read.

    Examples:
        twinswarm map meter --site mysite --wait 30
    """
    from twinswarm.deploy.drivers import links_of

    output = Output.to(json)
    link = links_of(options.resolved_site(site), [device])[device]
    found: dict[str, Any] = {}
    count = 0

    def put(value: object) -> bool:
        nonlocal count
        count += 1
        found.update(_of(value).model_dump(exclude_none=True))
        return True

    link.open(put)
    time.sleep(seconds)
    link.close()
    trouble = found.pop("trouble", "") or None
    output.write({"device": device, "messages": count, "measured": found, "trouble": trouble})
    for name, value in found.items():
        output.console.print(f"{name:18} {value}", markup=False, highlight=False)
    if trouble:
        output.console.print(trouble, markup=False, soft_wrap=True)
    if "power_kw" not in found:
        output.console.print(f"no power_kw was read in {seconds:g} s", markup=False)
        raise typer.Exit(1)


def _of(value: object) -> "Measured":
    from services.drivers.link import Measured

    assert isinstance(value, Measured)
    return value
