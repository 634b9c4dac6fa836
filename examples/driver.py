"""The skeleton of a driver: a charger's hardware as a participant in wall time. Replace `Hardware`.

It is called in two more cases: `wake_at` requests a call when a set-point ends, however rarely it sends telemetry;
`sources` cause a call when the hardware reports. `SetpointHandler` handles set-points: epoch, validity, dead time,
fallback and ack.
"""

from schemas.messages import Birth, ChargerNameplate, ChargerTelemetry, Fallback, Phase, PluggedVehicle, Setpoint
from schemas.messages.birth import TimeMode
from schemas.participant import Cadence, Outgoing, own_topic
from schemas.topics import Channel, Kind, topic_filter
from twin_devices.setpoints import SetpointHandler, clip_power


class Driver:
    kind = Kind.CHARGER

    def __init__(self, site, device, hardware, fallback=Fallback.IDLE, max_kw=22.0):
        self.site, self.device, self.hardware, self.max_kw, self.fallback = site, device, hardware, max_kw, fallback
        self.subscriptions = (topic_filter(site, self.kind, device, Channel.SETPOINT),)
        self.cadence = {Phase.SENSE: Cadence(period_s=600.0), Phase.APPLY: Cadence(on_message=True)}
        self.sources = (hardware,)
        self.power_kw, self.energy_kwh, self.plugged = 0.0, 0.0, False
        self.setpoints = SetpointHandler(fallback, lambda s: clip_power(s, "charger", 0.0, max_kw))

    def birth(self):
        plate = ChargerNameplate(max_charge_kw=self.max_kw, charge_efficiency=0.95, discharge_efficiency=0.95)
        modes, name = (TimeMode.WALL,), "driver skeleton"
        return Birth(nameplate=plate, telemetry_period_s=600.0, time_modes=modes, fallback=self.fallback, software=name)

    def act(self, turn, inbox):
        acks = [ack for m in inbox if isinstance(m.body, Setpoint) for ack in self.setpoints.receive(m.body, turn.t)]
        self.hardware.set_power(self.setpoints.target_at(turn.t).value_or(0.0, self.max_kw, 0.0))
        for reading in turn.inputs:
            value = reading.value
            self.power_kw, self.energy_kwh, self.plugged = value.power_kw, value.energy_kwh, value.plugged
        sent = [Outgoing(own_topic(self, Channel.ACK), ack) for ack in acks]
        if turn.phase is Phase.SENSE or turn.inputs:
            measured = {"energy_import_kwh": self.energy_kwh, "energy_export_kwh": 0.0}
            body = ChargerTelemetry(
                power_kw=self.power_kw, vehicle=PluggedVehicle() if self.plugged else None, **measured
            )
            sent.append(Outgoing(own_topic(self, Channel.TELEMETRY), body))
        return sent

    def wake_at(self, now):
        return self.setpoints.next_change()

    def snapshot(self):
        return {"setpoints": self.setpoints.snapshot(), "energy_kwh": self.energy_kwh}

    def restore(self, state):
        self.setpoints.restore(state["setpoints"])
        self.energy_kwh = state["energy_kwh"]
