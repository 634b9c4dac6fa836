"""A site and its messages for tests: the fitted site's numbers, and an ideal plant that follows every set-point.

Numbers and profiles: our prototype's fit of the study's table (reference "smart"), from which `sites/data/fit_g2v` was
calibrated. They stay as they are when that site is calibrated anew.
"""

import csv
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from schemas.messages import (
    BessNameplate,
    BessTelemetry,
    Birth,
    Body,
    ChargerNameplate,
    ChargerTelemetry,
    ExpectedChargingSession,
    MeterNameplate,
    MeterRole,
    MeterTelemetry,
    NetworkTelemetry,
    Phase,
    Plan,
    PluggedVehicle,
    PvNameplate,
    PvTelemetry,
    Quantity,
    Series,
    Setpoint,
    Stamp,
    TimeMode,
    ValueSeries,
)
from schemas.participant import Outgoing, Received, Turn
from schemas.site import (
    Bess,
    Cable,
    Connection,
    DayProfile,
    EmsOptions,
    Location,
    Network,
    Site,
    Tariff,
    Transformer,
)
from schemas.topics import Channel, Kind, Topic
from services.ems.participant import Ems

PROFILES = Path(__file__).parent / "prototype_profiles.csv"
STEP_S = 900
T0 = datetime(2024, 5, 16, 22, tzinfo=UTC)
"""Local midnight in Turin."""
CAR_KWH, CAR_ARRIVES, CAR_KW, CAR_EFFICIENCY = 57.6793475, 0.69709, 23.240405, 0.90066
BESS_KWH, BESS_KW, BESS_EFFICIENCY = 40.0, 16.09688, 0.94533


def column(name: str) -> tuple[float, ...]:
    with PROFILES.open(encoding="utf-8") as file:
        return tuple(float(row[name]) for row in csv.DictReader(file))


def site(**options: Any) -> Site:
    """The EMS reads limits, policy and time zone of it, nothing else."""
    return Site(
        site="small",
        location=Location(latitude_deg=45.07, longitude_deg=7.69),
        date=date(2024, 5, 17),
        connection=Connection(import_limit_kw=500, export_limit_kw=500),
        tariff=Tariff(sale="sale", spread_eur_per_kwh=0.2),
        devices={"unused": Bess(capacity_kwh=1, max_charge_kw=1, max_discharge_kw=1)},
        network=Network(
            transformer=Transformer(
                to_node="MB", rated_kva=400, high_kv=20, low_kv=0.4, vk_frac=0.06, vkr_frac=0.01, iron_loss_kw=1
            ),
            cables=(Cable(from_node="MB", to_node="EV", r_mohm=1, x_mohm=1, ampacity_a=100),),
            main_node="MB",
        ),
        profiles={"sale": DayProfile(values=(0.1,))},
        ems=EmsOptions(**{"horizon": "day", "bess_terminal_soc_frac": 0.85, **options}),
    )


def turn(time: datetime, phase: Phase = Phase.DECIDE, n: int = 1, mode: TimeMode = TimeMode.LOCKSTEP) -> Turn:
    return Turn(phase=phase, t=time, t0=T0, t_end=None, step_s=STEP_S, mode=mode, n=n)


def received(kind: Kind, device: str, channel: Channel, body: Body, ts: datetime = T0, boot: str = "b1") -> Received:
    return Received(Topic("small", kind, device, channel), Stamp(ts=ts, boot=boot, seq=1), body)


def birth(kind: Kind, device: str, nameplate: Any, boot: str = "b1", period_s: float | None = 10.0) -> Received:
    body = Birth(
        nameplate=nameplate,
        telemetry_period_s=period_s,
        time_modes=(TimeMode.LOCKSTEP, TimeMode.WALL),
        software="test",
    )
    return received(kind, device, Channel.BIRTH, body, boot=boot)


def charger_plate(**changes: Any) -> ChargerNameplate:
    fields: dict[str, Any] = {
        "max_charge_kw": CAR_KW,
        "max_discharge_kw": CAR_KW,
        "charge_efficiency": CAR_EFFICIENCY,
        "discharge_efficiency": CAR_EFFICIENCY,
    }
    return ChargerNameplate(**{**fields, **changes})


BESS_PLATE = BessNameplate(
    capacity_kwh=BESS_KWH,
    max_charge_kw=BESS_KW,
    max_discharge_kw=BESS_KW,
    charge_efficiency=BESS_EFFICIENCY,
    discharge_efficiency=BESS_EFFICIENCY,
    soc_min_frac=0.09724,
    soc_max_frac=0.90756,
)


def vehicle(soc_frac: float, arrival: datetime, departure: datetime, **changes: Any) -> PluggedVehicle:
    fields: dict[str, Any] = {
        "vehicle": "car",
        "soc_frac": soc_frac,
        "capacity_kwh": CAR_KWH,
        "arrival": arrival,
        "arrival_soc_frac": CAR_ARRIVES,
        "departure": departure,
        "target_soc_frac": 1.1 * CAR_ARRIVES,
        "soc_min_frac": 0.8268 * CAR_ARRIVES,
        "soc_max_frac": 0.80372,
    }
    return PluggedVehicle(**{**fields, **changes})


def session(charger: str, arrival: datetime, departure: datetime, **changes: Any) -> ExpectedChargingSession:
    fields: dict[str, Any] = {
        "charger": charger,
        "vehicle": "car",
        "arrival": arrival,
        "departure": departure,
        "capacity_kwh": CAR_KWH,
        "arrival_soc_frac": CAR_ARRIVES,
        "target_soc_frac": 1.1 * CAR_ARRIVES,
        "soc_min_frac": 0.8268 * CAR_ARRIVES,
        "soc_max_frac": 0.80372,
    }
    return ExpectedChargingSession(**{**fields, **changes})


def values(
    quantity: Quantity, numbers: Sequence[float], device: str | None = None, start: datetime = T0
) -> ValueSeries:
    return ValueSeries(quantity=quantity, device=device, start=start, step_s=STEP_S, values=tuple(numbers))


class IdealPlant:
    """Devices without dead time and losses: what is commanded flows for the whole step.

    ``chargers`` V2G or (``one_way``) not; cars from 9:00 to 18:00 local, the load as measured or (``typical``) as
    forecast, PV of a clear sky: case 6.
    """

    def __init__(self, *, bess: bool = True, one_way: bool = False, chargers: int = 4, typical: bool = False) -> None:
        self.names = [f"ev{i + 1}" for i in range(chargers)]
        self.has_bess, self.one_way = bess, one_way
        self.forecast, self.pv = column("load_forecast"), column("pv_clear")
        self.load = self.forecast if typical else column("load_measured")
        self.sale = column("price_italian")
        self.bess_kwh = 0.43451 * BESS_KWH
        self.cars = dict.fromkeys(self.names, CAR_ARRIVES * CAR_KWH)
        self.power: dict[str, float] = {}
        self.cost_eur = 0.0
        self.imported_kwh = self.exported_kwh = 0.0
        self.arrival, self.departure = T0 + timedelta(hours=9), T0 + timedelta(hours=18)

    def births(self) -> list[Received]:
        plate = charger_plate(max_discharge_kw=0.0 if self.one_way else CAR_KW)
        found = [birth(Kind.CHARGER, name, plate) for name in self.names]
        if self.has_bess:
            found.append(birth(Kind.BESS, "bess", BESS_PLATE))
        found.append(birth(Kind.PV, "pv", PvNameplate(rated_kw=100.6672, curtailable=True)))
        found.append(birth(Kind.METER, "building", MeterNameplate(role=MeterRole.LOAD)))
        found.append(birth(Kind.NETWORK, "network", MeterNameplate(role=MeterRole.PCC)))
        return sorted(found, key=lambda r: r.topic)

    def series(self) -> list[Received]:
        prices = (
            values(Quantity.SALE_PRICE, self.sale),
            values(Quantity.PURCHASE_PRICE, [price + 0.2 for price in self.sale]),
        )
        expected = Series(
            series=(values(Quantity.LOAD, self.forecast, "building"), values(Quantity.PV, self.pv, "pv")),
            charging_sessions=tuple(session(name, self.arrival, self.departure) for name in self.names),
        )
        return [
            received(Kind.FORECAST, "forecast", Channel.SERIES, expected),
            received(Kind.TARIFF, "tariff", Channel.SERIES, Series(series=prices)),
        ]

    def telemetry(self, step: int) -> list[Received]:
        time = T0 + timedelta(seconds=STEP_S * step)
        found = []
        for name in self.names:
            plugged = self.arrival <= time < self.departure
            car = vehicle(self.cars[name] / CAR_KWH, self.arrival, self.departure) if plugged else None
            body: Body = ChargerTelemetry(power_kw=self.power.get(name, 0.0), vehicle=car)
            found.append(received(Kind.CHARGER, name, Channel.TELEMETRY, body, time))
        if self.has_bess:
            body = BessTelemetry(power_kw=self.power.get("bess", 0.0), soc_frac=self.bess_kwh / BESS_KWH)
            found.append(received(Kind.BESS, "bess", Channel.TELEMETRY, body, time))
        pv = PvTelemetry(power_kw=-self.pv[step], available_kw=self.pv[step])
        found.append(received(Kind.PV, "pv", Channel.TELEMETRY, pv, time))
        load = MeterTelemetry(power_kw=self.load[step])
        found.append(received(Kind.METER, "building", Channel.TELEMETRY, load, time))
        return sorted(found, key=lambda r: r.topic)

    def pcc(self, step: int) -> list[Received]:
        time = T0 + timedelta(seconds=STEP_S * step)
        body = NetworkTelemetry(
            power_kw=self.load[step] - self.pv[step] + sum(self.power.values()),
            energy_import_kwh=self.imported_kwh,
            energy_export_kwh=self.exported_kwh,
            losses_kw=0.0,
            losses_kwh=0.0,
            residual_kwh=0.0,
            voltages_pu={},
            loadings_frac={},
        )
        return [received(Kind.NETWORK, "network", Channel.TELEMETRY, body, time)]

    def follow(self, step: int, messages: Sequence[Outgoing]) -> None:
        self.power = {}
        pv = self.pv[step]
        for message in messages:
            if not isinstance(message.body, Setpoint):
                continue
            if message.topic.kind is Kind.PV:
                assert message.body.limit_kw is not None
                pv = min(pv, message.body.limit_kw)
            else:
                assert message.body.power_kw is not None
                self.power[message.topic.device] = message.body.power_kw
        hours = STEP_S / 3600
        for name, power in self.power.items():
            efficiency = BESS_EFFICIENCY if name == "bess" else CAR_EFFICIENCY
            change = hours * (power * efficiency if power > 0 else power / efficiency)
            if name == "bess":
                self.bess_kwh += change
            else:
                self.cars[name] += change
        pcc = self.load[step] - pv + sum(self.power.values())
        self.imported_kwh += hours * max(pcc, 0.0)
        self.exported_kwh += hours * max(-pcc, 0.0)
        self.cost_eur += hours * pcc * (self.sale[step] + (0.2 if pcc > 0 else 0.0))


def cycle(ems: Ems, plant: IdealPlant, step: int, others: Sequence[Received] = ()) -> list[Outgoing]:
    """A lock-step cycle: what the EMS is handed at *measure* and at *decide*, and what it answers.

    ``others``: messages that come with *sense* besides.
    """
    time = T0 + timedelta(seconds=STEP_S * step)
    inbox = [*others, *(plant.series() if step == 0 else [])]
    ems.act(turn(time, Phase.SENSE, step + 1), inbox)
    ems.act(turn(time, Phase.MEASURE, step + 1), plant.telemetry(step))
    messages = ems.act(turn(time, Phase.DECIDE, step + 1), plant.pcc(step))
    plant.follow(step, messages)
    return messages


def begin(ems: Ems, plant: IdealPlant) -> None:
    ems.act(turn(T0, Phase.ROLLCALL, 0), [])
    ems.act(turn(T0, Phase.COMMIT, 0), plant.births())


def plan_in(messages: Sequence[Outgoing]) -> Plan:
    (plan,) = [m.body for m in messages if isinstance(m.body, Plan)]
    return plan


def setpoints_in(messages: Sequence[Outgoing]) -> dict[str, Setpoint]:
    return {m.topic.device: m.body for m in messages if isinstance(m.body, Setpoint)}
