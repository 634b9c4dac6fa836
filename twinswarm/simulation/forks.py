"""What a fork of a decision changes: the EMS learns it by messages, as it would have learnt it on the day."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta

from schemas.errors import Code, Fault, InputError
from schemas.messages import ChargerTelemetry, Phase, Presence, Quantity, Series, Stamp, State, ValueSeries
from schemas.participant import Json, Received, Turn
from schemas.site import Site
from schemas.topics import Channel, Kind, Topic
from schemas.wire import body_type
from services.forecast.tariff import Tariff
from twinswarm.simulation.decisions import Moment

_PRICES = (Quantity.PURCHASE_PRICE, Quantity.SALE_PRICE)
_BOOT = "fork"
_TARIFF = "tariff/tariff"


@dataclass(frozen=True)
class Fork:
    """Another site for the EMS, another tariff, devices without their vehicle or away. None: as it was."""

    site: Site | None = None
    tariff: Site | None = None
    """The site whose tariff takes the place of the EMS' own."""
    without: Sequence[str] = ()

    @property
    def changes_nothing(self) -> bool:
        return self.site is None and self.tariff is None and not self.without

    def site_at(self, moment: Moment) -> Site:
        """The site of the forked EMS. Raises InputError for a tariff of another time zone."""
        site = self.site or moment.site
        for option, other in (("--site", self.site), ("--tariff", self.tariff)):
            if other is not None and other.location.time_zone != moment.site.location.time_zone:
                what = f"its time zone must be the recorded site's, {moment.site.location.time_zone}"
                raise InputError.one(option, what, other.location.time_zone, code=Code.CONFLICT)
        site = site.model_copy(update={"site": moment.site.site})
        return site if self.tariff is None else site.model_copy(update={"tariff": self.tariff.tariff})

    def learnt(self, moment: Moment) -> list[Received]:
        """The messages that make the difference, in the order of an inbox. Raises InputError with all faults."""
        messages: list[Received] = []
        faults: list[Fault] = []
        priced = self.tariff or self.site
        if priced is not None:
            try:
                messages += _prices(priced, moment, "--tariff" if self.tariff else "--site")
            except InputError as error:
                faults += error.faults
        for device in self.without:
            try:
                messages.append(_absence(device, moment))
            except InputError as error:
                faults += error.faults
        if faults:
            raise InputError(faults)
        return sorted(messages, key=lambda received: str(received.topic))


def _prices(site: Site, moment: Moment, option: str) -> Iterable[Received]:
    """The series of every sender of prices, with those of ``site`` in the place of its own."""
    turn = moment.turn
    at_roll_call = Turn(Phase.ROLLCALL, turn.t, turn.t0, turn.t_end, turn.step_s, turn.mode)
    ((outgoing),) = Tariff(site.model_copy(update={"ems": moment.site.ems})).act(at_roll_call, [])
    assert isinstance(outgoing.body, Series)
    new = outgoing.body.series
    for quantity in _PRICES:
        if not any(series.quantity is quantity and series.at(turn.t) is not None for series in new):
            what = f"its {quantity} is not known at {_local(moment)}, the time of the plan"
            raise InputError.one(option, what, site.site, code=Code.RANGE)
    known = {
        name: Series.model_validate(series, strict=False) for name, series in moment.state["state"]["series"].items()
    }
    for name in sorted({_TARIFF, *(name for name, series in known.items() if _has_prices(series))}):
        kind, _, device = name.partition("/")
        old = known.get(name, Series())
        kept = tuple(series for series in old.series if series.quantity not in _PRICES)
        added: tuple[ValueSeries, ...] = new if name == _TARIFF else ()
        body = old.model_copy(update={"series": (*kept, *added)})
        topic = Topic(moment.site.site, Kind(kind), device, Channel.SERIES)
        yield Received(topic, _stamp(moment, _BOOT), body, turn.t)


def _has_prices(series: Series) -> bool:
    return any(each.quantity in _PRICES for each in series.series)


def _absence(device: str, moment: Moment) -> Received:
    """A charger's plug is free; any other device says goodbye."""
    known: Json = moment.state["state"]["devices"].get(device)
    when = _local(moment)
    if known is None:
        there = ", ".join(sorted(moment.state["state"]["devices"])) or "none"
        raise InputError.one(
            "--without", f"the EMS knew no such device at {when}; it knew {there}", device, code=Code.UNKNOWN
        )
    kind, boot = Kind(known["kind"]), known["boot"]
    if kind is not Kind.CHARGER:
        topic = Topic(moment.site.site, kind, device, Channel.STATE)
        return Received(topic, _stamp(moment, boot), State(state=Presence.OFFLINE), moment.turn.t)
    telemetry = known["telemetry"]
    if telemetry is None or telemetry.get("vehicle") is None:
        raise InputError.one("--without", f"no vehicle is plugged there at {when}", device, code=Code.EMPTY)
    before = body_type(kind, Channel.TELEMETRY).model_validate(telemetry, strict=False)
    assert isinstance(before, ChargerTelemetry)
    body = before.model_copy(update={"power_kw": 0.0, "vehicle": None, "departed": None})
    topic = Topic(moment.site.site, kind, device, Channel.TELEMETRY)
    return Received(topic, _stamp(moment, boot), body, moment.turn.t)


def _local(moment: Moment) -> str:
    return f"{moment.turn.t.astimezone(moment.site.zone):%Y-%m-%d %H:%M}"


def _stamp(moment: Moment, boot: str) -> Stamp:
    """After everything that the EMS knows."""
    return Stamp(ts=moment.turn.t + timedelta(microseconds=1), boot=boot, seq=2**53)
