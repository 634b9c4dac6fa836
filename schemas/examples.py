"""One valid message of every type on the wire, as documentation: they stand in the exported JSON Schemas."""

from base64 import b64encode
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any
from zlib import compress

from schemas.errors import Code
from schemas.messages import (
    Ack,
    Alarm,
    BessTelemetry,
    Birth,
    Body,
    ChargerNameplate,
    ChargerTelemetry,
    DecisionRecord,
    DevicePlan,
    Done,
    Earnings,
    EmsMode,
    Estimate,
    ExpectedChargingSession,
    Fallback,
    GhostBill,
    GhostDevice,
    HeatPumpTelemetry,
    Limit,
    MeterTelemetry,
    Metric,
    NetworkTelemetry,
    PccCost,
    Phase,
    Plan,
    PlanStatus,
    PluggedVehicle,
    Prediction,
    Presence,
    PvTelemetry,
    Quantity,
    Receipt,
    Reject,
    Request,
    RequestedPower,
    Run,
    Segment,
    Series,
    Setpoint,
    Severity,
    Shortfall,
    ShortfallCause,
    ShortfallKind,
    Stamp,
    State,
    Tick,
    TimeMode,
    ValueSeries,
)
from schemas.site.scenario import Cloud, Event
from schemas.topics import Channel, Kind, Topic

SITE = "fit-g2v"
RUN = "20240516T220000.000000Z-5f0c"
T0 = datetime(2024, 5, 16, 22, tzinfo=UTC)
T = datetime(2024, 5, 17, 7, 15, tzinfo=UTC)
QUARTER = timedelta(minutes=15)
ARRIVAL, DEPARTURE = datetime(2024, 5, 17, 7, tzinfo=UTC), datetime(2024, 5, 17, 16, tzinfo=UTC)

_VEHICLE: dict[str, Any] = {
    "vehicle": "car1",
    "arrival": ARRIVAL,
    "departure": DEPARTURE,
    "capacity_kwh": 57.7,
    "arrival_soc_frac": 0.697,
    "target_soc_frac": 0.767,
    "soc_min_frac": 0.576,
    "soc_max_frac": 0.804,
}
_GHOST_BILL = GhostBill(
    hours=0.25,
    real=PccCost(import_kwh=5.0, energy_eur=1.5, peak_kw=20.0),
    ghosts=PccCost(import_kwh=7.5, energy_eur=2.25, peak_kw=30.0),
    earned_eur=-0.75,
)
_SETPOINT_TOPIC = f"twin/v2/{SITE}/charger/ev1/setpoint"

_CONTENT: tuple[tuple[Kind, str, Channel, Body], ...] = (
    (
        Kind.CHARGER,
        "ev1",
        Channel.BIRTH,
        Birth(
            nameplate=ChargerNameplate(
                max_charge_kw=23.24,
                max_discharge_kw=23.24,
                charge_efficiency=0.9,
                discharge_efficiency=0.9,
                dead_time_s=30.0,
                ramp_kw_per_s=1.0,
            ),
            telemetry_period_s=10.0,
            time_modes=(TimeMode.LOCKSTEP, TimeMode.WALL),
            fallback=Fallback.UNCONTROLLED,
            software="twinswarm 0.1.0",
        ),
    ),
    (Kind.CHARGER, "ev1", Channel.STATE, State(state=Presence.ONLINE)),
    (
        Kind.CLOCK,
        "clock",
        Channel.RUN,
        Run(mode=TimeMode.LOCKSTEP, step_s=900, t0=T0, t_end=T0 + timedelta(days=1), wall0=T0),
    ),
    (
        Kind.CHARGER,
        "ev1",
        Channel.TELEMETRY,
        ChargerTelemetry(
            power_kw=-11.5,
            energy_import_kwh=1.4,
            energy_export_kwh=0.1,
            segments=(Segment(T - QUARTER, 5.5), Segment(T - timedelta(minutes=14, seconds=30), -11.5)),
            vehicle=PluggedVehicle(soc_frac=0.7, charged_kwh=1.4, discharged_kwh=0.1, **_VEHICLE),
        ),
    ),
    (
        Kind.BESS,
        "bess",
        Channel.TELEMETRY,
        BessTelemetry(power_kw=4.0, energy_import_kwh=12.5, energy_export_kwh=3.0, soc_frac=0.61),
    ),
    (
        Kind.HEATPUMP,
        "heatpump",
        Channel.TELEMETRY,
        HeatPumpTelemetry(
            power_kw=4.0,
            energy_import_kwh=31.5,
            energy_export_kwh=0.0,
            soc_frac=0.55,
            heat_kw=12.6,
            cop=3.15,
            temp_outdoor_c=4.6,
            heat_demand_kw=9.8,
            heat_kwh=98.0,
            heat_served_kwh=91.0,
            heat_unserved_kwh=0.0,
        ),
    ),
    (
        Kind.PV,
        "pv",
        Channel.TELEMETRY,
        PvTelemetry(power_kw=-41.0, energy_import_kwh=0.0, energy_export_kwh=55.2, available_kw=41.0),
    ),
    (
        Kind.METER,
        "building",
        Channel.TELEMETRY,
        MeterTelemetry(power_kw=72.3, energy_import_kwh=480.0, energy_export_kwh=0.0, reactive_kvar=12.0),
    ),
    (
        Kind.NETWORK,
        "network",
        Channel.TELEMETRY,
        NetworkTelemetry(
            power_kw=24.6,
            energy_import_kwh=440.5,
            energy_export_kwh=1.2,
            reactive_kvar=12.5,
            power_factor=0.891,
            losses_kw=1.8,
            losses_kwh=13.4,
            residual_kwh=0.0,
            voltages_pu={"PCC": 1.0, "MB": 0.997},
            loadings_frac={"transformer": 0.07, "MB-EV1": 0.22},
        ),
    ),
    (
        Kind.FORECAST,
        "forecast",
        Channel.SERIES,
        Series(
            series=(
                ValueSeries(quantity=Quantity.LOAD, device="building", start=T0, step_s=900, values=(49.5, 49.6)),
                ValueSeries(quantity=Quantity.SALE_PRICE, start=T0, step_s=900, values=(0.0828, -0.01)),
            ),
            charging_sessions=(ExpectedChargingSession(charger="ev1", **_VEHICLE),),
        ),
    ),
    (
        Kind.LIMITER,
        "control-box",
        Channel.LIMIT,
        Limit(
            source="grid operator",
            valid_from=T,
            valid_until=T + timedelta(hours=1),
            import_kw=20.0,
            heartbeat_s=60.0,
            failsafe_import_kw=10.0,
        ),
    ),
    (
        Kind.OPERATOR,
        "homeassistant",
        Channel.REQUEST,
        Request(
            source="Home Assistant",
            valid_from=T,
            valid_until=T + timedelta(minutes=2),
            setpoints={"ev1": RequestedPower(power_kw=7.0, until=T + timedelta(hours=4))},
        ),
    ),
    (
        Kind.PV,
        "pv",
        Channel.EVENT,
        Event(id="3f2a", event=Cloud(device="pv", start=T, end=T + QUARTER, available_frac=0.2)),
    ),
    (
        Kind.CHARGER,
        "ev1",
        Channel.SETPOINT,
        Setpoint(
            id="7-38-ev1",
            epoch=7,
            valid_from=T,
            valid_until=T + QUARTER,
            power_kw=-11.5,
            fallback=Fallback.UNCONTROLLED,
            reason="plan",
        ),
    ),
    (
        Kind.CHARGER,
        "ev1",
        Channel.ACK,
        Ack(id="7-38-ev1", accepted=True, applied_kw=-11.0, reason="limited by the vehicle"),
    ),
    (
        Kind.EMS,
        "ems",
        Channel.PLAN,
        Plan(
            epoch=7,
            mode=EmsMode.CONTROL,
            status=PlanStatus.OPTIMAL,
            start=T,
            step_s=900,
            objective_eur=101.25,
            wear_eur=1.2,
            demand_eur=0.0,
            penalty_eur=0.5,
            tie_break_eur=0.02,
            iterations=210,
            shortfalls=(
                Shortfall(
                    kind=ShortfallKind.DEPARTURE,
                    device="ev1",
                    at=DEPARTURE,
                    kwh=0.1,
                    eur=0.5,
                    cause=ShortfallCause.TOO_LITTLE_TIME,
                ),
                Shortfall(kind=ShortfallKind.NETWORK_LIMIT, element="MB-EV1", at=T, kwh=0.02, eur=1.0),
            ),
            devices={"ev1": DevicePlan(power_kw=(-11.5, 5.0), soc_frac=(0.65, None))},
            load_kw=(72.3, 72.0),
            pcc_kw=(24.6, 31.0),
            losses_kw=(1.8, 1.8),
            purchase_price_eur_per_kwh=(0.29, 0.28),
            sale_price_eur_per_kwh=(0.09, 0.08),
        ),
    ),
    (
        Kind.CLOCK,
        "clock",
        Channel.TICK,
        Tick(
            n=38,
            phase=Phase.DECIDE,
            t=T,
            attempt=1,
            t0=T0,
            t_end=T0 + timedelta(days=1),
            step_s=900,
            roster={"ev1": "ev1-1", "ems": "ems-1"},
            announced={"ev1": ((f"twin/v2/{SITE}/charger/ev1/telemetry", 38, 38),), "ems": ()},
        ),
    ),
    (
        Kind.EMS,
        "ems",
        Channel.DONE,
        Done(n=38, phase=Phase.DECIDE, announced=((_SETPOINT_TOPIC, 38, 38),)),
    ),
    (
        Kind.RECORDER,
        "recorder",
        Channel.RECEIPT,
        Receipt(stored=2310, missing=0, dead_letters=0, up_to=T),
    ),
    (
        Kind.NETWORK,
        "network",
        Channel.ALARM,
        Alarm(
            code="overload",
            severity=Severity.WARNING,
            element="MB-EV1",
            value=1.05,
            limit=1.0,
            text="cable MB-EV1 carries 105 % of its rated current",
        ),
    ),
    (
        Kind.EMS,
        "ems",
        Channel.DECISION,
        DecisionRecord(
            software="twinswarm 0.1.0",
            site_sha256=sha256(b"").hexdigest(),
            epoch=1,
            t0=T,
            step_s=900,
            turn=112,
            pace=1.0,
            snapshot=b64encode(compress(b"{}")).decode(),
        ),
    ),
    (
        Kind.SHADOW,
        "shadow-bess",
        Channel.PREDICTION,
        Prediction(
            device="bess",
            interval_s=900.0,
            predicted_kw=8.0,
            measured_kw=7.96,
            residual_kw=-0.04,
            predicted_soc_frac=0.5123,
            measured_soc_frac=0.51,
            residual_soc_frac=-0.0023,
            estimates={
                "charge_efficiency": Estimate(described=0.95, value=0.904, low=0.899, high=0.909),
                "capacity_kwh": Estimate(described=40.0, value=42.1, low=41.8, high=42.4),
            },
            parted="charge_efficiency",
            cost_eur_per_month=3.4,
        ),
    ),
    (
        Kind.GHOSTS,
        "ghosts",
        Channel.EARNINGS,
        Earnings(
            since=T,
            until=T + timedelta(minutes=15),
            interval_s=900.0,
            real_kw=20.0,
            ghosts_kw=30.0,
            devices={
                "newbess": GhostDevice(
                    power_kw=10.0, energy_import_kwh=2.5, energy_export_kwh=0.0, soc_frac=0.524, cycles=0.012
                ),
            },
            date="2024-05-17",
            day=_GHOST_BILL,
            month=_GHOST_BILL,
            total=_GHOST_BILL,
            stored_kwh=2.375,
            degraded=("the real meter is silent since 2024-05-17T09:16:00+00:00",),
        ),
    ),
    (Kind.EMS, "ems", Channel.METRIC, Metric(values={"solve_s": 0.004, "plan_age_s": 0.0})),
    (
        Kind.CHARGER,
        "ev1",
        Channel.REJECT,
        Reject(
            topic=_SETPOINT_TOPIC,
            code=Code.MESSAGE,
            reason=f"{_SETPOINT_TOPIC}: power_kw: Input should be a valid number",
        ),
    ),
)


def examples() -> list[tuple[Topic, Stamp, Body]]:
    """Topic, stamp and body of one message per type on the wire."""
    return [
        (Topic(SITE, kind, device, channel), Stamp(ts=T, run=RUN, boot=f"{device}-1", seq=38), body)
        for kind, device, channel, body in _CONTENT
    ]
