"""``limiter``: a source of limits that the site describes, on the bus."""

from typing import Annotated

import typer

from twinswarm.cli import options
from twinswarm.cli.commands.members import CheckpointsOption, OnceOption, log_start
from twinswarm.deploy.process import Life, serve, stop_event


def limiter(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A source of the site's limits, such as control-box.")],
    site: options.ResolvedSiteOption = options.SITE,
    broker: options.BrokerOption = options.BROKER,
    checkpoints: CheckpointsOption = None,
    once: OnceOption = False,
    cafile: options.CafileOption = None,
    cert: options.CertOption = None,
    key: options.KeyOption = None,
    username: options.UsernameOption = None,
    password_file: options.PasswordFileOption = None,
    heartbeat: options.HeartbeatOption = None,
) -> None:
    """Run a **source of limits from outside**: contacts of a relay by Modbus or MQTT, or the events of an
    OpenADR server.

    The site's `limits` say how the source is heard, what it demands and which failsafe holds while it is not heard, see
    docs/limits.md. It publishes the limit with its heartbeat, in wall time. `twinswarm limit` sends one by hand.

    Examples:
        twinswarm limiter control-box --site mysite --broker mqtt://127.0.0.1:1883 --checkpoints state
    """
    from twinswarm.deploy.limiters import sourced

    chosen = options.resolved_site(site)
    make = sourced(chosen, name)
    connection = options.connection(broker, cafile, cert, key, username, password_file)
    log_start(name, chosen, connection)
    life = Life(once=once, heartbeat=heartbeat)
    serve(make, chosen, name, connection, checkpoints, life, stop_event(life))
