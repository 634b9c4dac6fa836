"""``set``: a set-point by hand."""

import re
import secrets
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from schemas.errors import Code, InputError, RunFailedError, SiteBusyError
from schemas.kinds import COMMANDED_KINDS
from schemas.topics import Channel, Kind, Topic, client_id
from twinswarm.cli import options
from twinswarm.cli.observing import site_id
from twinswarm.cli.output import Output
from twinswarm.simulation.runs import parse_duration

if TYPE_CHECKING:
    from schemas.messages import Ack, Setpoint, Stamp
    from services.monitor.live_site import LiveDevice, LiveSite

_POWER = re.compile(r"(?P<sign>[+-]?)(?P<number>\d+(?:\.\d+)?)\s?(?P<unit>kW|W|MW)")
_KW = {"W": 1e-3, "kW": 1.0, "MW": 1e3}
ANSWER_S = 10.0
"""Machine time that a device has to answer."""


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What the user asks for: a power or, with ``is_limit``, a limit [kW]."""

    value_kw: float
    is_limit: bool
    valid: timedelta
    epoch: int | None
    force: bool


def set_point(
    device: Annotated[
        str, typer.Argument(metavar="DEVICE", help="A charger, battery, heat pump or PV inverter, such as ev1.")
    ],
    power: Annotated[
        str | None,
        typer.Argument(
            metavar="POWER",
            help="5kW, 500W, -3.7kW: positive is drawn from the building's bus (charging), negative is fed into it.",
        ),
    ] = None,
    limit: Annotated[
        str | None,
        typer.Option("--limit", metavar="POWER", help="For PV: the greatest production, such as 20kW or 0kW."),
    ] = None,
    length: Annotated[
        str,
        typer.Option(
            "--for",
            metavar="DURATION",
            help="How long it is valid, in the run's time; then the device's fallback holds.",
        ),
    ] = "15min",
    force: Annotated[
        bool,
        typer.Option("--force", help="Send it although an EMS leads. It holds until that EMS's next set-point."),
    ] = False,
    epoch: Annotated[
        int | None,
        typer.Option(
            "--epoch",
            metavar="NUMBER",
            help="Epoch of the set-point: a device refuses one below the highest that it has seen. With an epoch above "
            "the EMS's, the device refuses the EMS from then on.",
            show_default="the highest of the run's plans and set-points",
        ),
    ] = None,
    site: options.SiteWithDeviceOption = None,
    broker: options.BrokerOption = options.BROKER,
    json: options.JsonOption = None,
    cafile: options.CafileOption = None,
    cert: options.CertOption = None,
    key: options.KeyOption = None,
    username: options.UsernameOption = None,
    password_file: options.PasswordFileOption = None,
) -> None:
    """Send **one set-point by hand**, and show the device's answer.

    It needs a run in wall time (`--speed`, or real devices). While an EMS in mode `control` leads, this command
    refuses: that EMS sends every device a set-point each settlement period, and the newest of the highest epoch
    counts. On a broker with an access list only the EMS may write set-points: its certificate or password is needed.

    Examples:
        twinswarm set ev1 5kW --for 15min
        twinswarm set bess -10kW --for 1h --force  until the EMS's next set-point
        twinswarm set pv --limit 20kW
    """
    from broker.mqtt import MqttTransport
    from schemas.messages import Ack
    from schemas.wire import encode
    from services.monitor.live_site import await_answer, look_around, site_with

    output = Output.to(json)
    if epoch is not None and epoch < 0:
        raise InputError.one("--epoch", "0 or more is allowed", epoch, code=Code.RANGE)
    wanted = _Wanted(_parse_value(power, limit), limit is not None, parse_duration(length), epoch, force)
    named = None if site is None else site_id(site)
    connection = options.connection(broker, cafile, cert, key, username, password_file, named)
    transport = MqttTransport(
        connection.address, client_id(named or "observer", f"set-{secrets.token_hex(3)}"), connection.credentials
    )
    try:
        found = look_around(transport, named or "+", time.monotonic)
        live, target = site_with(found, device)
        stamp, setpoint = _order(live, target, wanted)
        answers = Topic(live.site, target.topic.kind, device, Channel.ACK)
        orders = Topic(live.site, target.topic.kind, device, Channel.SETPOINT)
        transport.publish(str(orders), encode(stamp, setpoint))
        ack = await_answer(
            transport, answers, lambda body: isinstance(body, Ack) and body.id == setpoint.id, time.monotonic, ANSWER_S
        )
    finally:
        transport.close()
    if ack is None:
        what = "is it there, and may this client write set-points on this broker?"
        raise RunFailedError(f"{device} has not answered within {ANSWER_S:g} s: {what}", code=Code.NO_ANSWER)
    assert isinstance(ack, Ack)
    output.write({"setpoint": setpoint.model_dump(mode="json"), "ack": ack.model_dump(mode="json")})
    _tell(live, setpoint, device, ack, output)
    if not ack.accepted:
        raise typer.Exit(1)


def _parse_value(power: str | None, limit: str | None) -> float:
    """The one value that is given [kW]. Raises InputError."""
    if (power is None) == (limit is None):
        what = "either POWER or, for PV, --limit is needed"
        raise InputError.one("POWER", what, power, code=Code.MISSING if power is None else Code.CONFLICT)
    where, text = ("POWER", power) if power is not None else ("--limit", limit)
    assert text is not None
    match = _POWER.fullmatch(text.strip())
    if match is None:
        what = "a power is a number with its unit: 5kW, 500W or -3.7kW"
        raise InputError.one(where, what, text, code=Code.FORMAT)
    value_kw = float(match["sign"] + match["number"]) * _KW[match["unit"]]
    if limit is not None and value_kw < 0:
        raise InputError.one(where, "a limit is a magnitude: 0 or more is allowed", text, code=Code.RANGE)
    if abs(value_kw) > 1e6:
        raise InputError.one(where, "at most 1000000 kW is allowed", text, code=Code.RANGE)
    return value_kw


def _order(live: "LiveSite", target: "LiveDevice", wanted: _Wanted) -> "tuple[Stamp, Setpoint]":
    """The message, from now on in the run's time. Raises TwinswarmError when it must not be sent."""
    from schemas.messages import Setpoint, Stamp

    run, time_base = live.wall_run()
    _check(live, target, wanted)
    now = time_base.time_from_t0(datetime.now(UTC))
    name = secrets.token_hex(6)
    setpoint = Setpoint(
        id=f"manual-{name}",
        epoch=live.epoch if wanted.epoch is None else wanted.epoch,
        valid_from=now,
        valid_until=now + wanted.valid,
        power_kw=None if wanted.is_limit else wanted.value_kw,
        limit_kw=wanted.value_kw if wanted.is_limit else None,
        fallback=target.birth.fallback,
        reason="set by hand",
    )
    return Stamp(ts=now, run=run, boot=name, seq=1), setpoint


def _check(live: "LiveSite", target: "LiveDevice", wanted: _Wanted) -> None:
    device, kind = target.topic.device, target.topic.kind
    if kind not in COMMANDED_KINDS:
        allowed = ", ".join(COMMANDED_KINDS)
        raise InputError.one("DEVICE", f"a {kind} takes no set-point, only {allowed}", device, code=Code.INVALID)
    if wanted.is_limit != (kind is Kind.PV):
        what = "a PV inverter takes --limit, all other devices take POWER"
        raise InputError.one("DEVICE", what, f"{device}, a {kind}", code=Code.CONFLICT)
    if not target.online:
        raise RunFailedError(f"{device} is not online at site {live.site}", code=Code.NO_ANSWER)
    if (ems := live.leading_ems) is not None and not wanted.force:
        raise SiteBusyError(
            f"{ems} leads site {live.site} with epoch {live.epoch}: its next set-point, within a step, replaces this "
            "one. --force sends it all the same; `twinswarm ems --mode observe` leaves the devices to you"
        )


def _tell(live: "LiveSite", setpoint: "Setpoint", device: str, ack: "Ack", output: Output) -> None:
    console = output.console

    def say(text: str) -> None:
        console.print(text, markup=False, soft_wrap=True)

    if not ack.accepted:
        say(f"{device} refuses it: {ack.reason or 'it gives no reason'}")
        return
    if ack.applied_limit_kw is not None:
        applied = f"at most {ack.applied_limit_kw:g} kW"
    else:
        applied = "unknown" if ack.applied_kw is None else f"{ack.applied_kw:g} kW"
    because = f" ({ack.reason})" if ack.reason else ""
    say(f"{device} follows it: {applied}{because}")
    until = f"{setpoint.valid_until:%Y-%m-%d %H:%M:%S} UTC of the run's time"
    ems = live.leading_ems
    if ems is not None and setpoint.epoch > live.epoch:
        say(f"Until {until}; epoch {setpoint.epoch} is above that of {ems}, which the device refuses from now on")
    elif ems is not None:
        say(f"Until {ems} sends its next set-point, at the latest until {until}")
    else:
        say(f"Until {until}, then fallback {setpoint.fallback}")
