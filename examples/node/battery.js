// The device behind attach.js: a battery with its inverter, integrated here. With real hardware, replace it.
//
// Power [kW] above 0 is drawn from the building's bus, below 0 fed into it; SOC is a fraction of the capacity. Instants
// are milliseconds of the run's time since 1970.

const MAX_KW = 12, EFFICIENCY = 0.95, CAPACITY_KWH = 30, SOC_MIN = 0.1, SOC_MAX = 0.9;
const HOUR_MS = 3_600_000;
const EPOCH_STEP = 1_000_000, LONGEST_MS = 48 * HOUR_MS; // a mistake must not lock the EMS out, nor hold for ever
const OWN_FALLBACK = 'idle';
export const PERIOD_S = 10;

/** All that the EMS knows of this battery, besides its telemetry. */
export const BIRTH = {
  nameplate: {
    type: 'bess', capacity_kwh: CAPACITY_KWH, soc_min_frac: SOC_MIN, soc_max_frac: SOC_MAX,
    max_charge_kw: MAX_KW, max_discharge_kw: MAX_KW,
    charge_efficiency: EFFICIENCY, discharge_efficiency: EFFICIENCY,
  },
  capabilities: ['storage', 'flexible_load', 'two_way'],
  telemetry_period_s: PERIOD_S,
  time_modes: ['wall'], // a battery cannot be hurried: the clock of a lock-step run refuses to start with it
  fallback: OWN_FALLBACK, // before the first set-point
  software: 'examples/node',
};

export class Battery {
  /** `memory`: a snapshot of an earlier process. Registers and epoch go on from there; nothing flowed in between. */
  constructor(memory = {}) {
    const blank = { soc: 0.5, import_kwh: 0, export_kwh: 0, now: null, epoch: 0, orders: [] };
    Object.assign(this, blank, memory);
  }

  /** Goes on at `t` without energy since: energy that was not published did not flow. */
  resume(t) {
    this.now = t;
  }

  /** A new session: its EMS counts epochs anew, and set-points of another time mean nothing. */
  forget() {
    Object.assign(this, { now: null, epoch: 0, orders: [] });
  }

  /** Integrates up to `t`, piece by piece between the instants at which an order begins or ends. */
  advance(t) {
    const turns = this.orders.flatMap((order) => [order.from, order.until]).filter((at) => at > this.now && at < t);
    for (const end of [...turns.sort((a, b) => a - b), t]) {
      const hours = Math.max(end - this.now, 0) / HOUR_MS;
      if (hours === 0) continue;
      const kw = this.power(this.now, hours);
      this.import_kwh += Math.max(kw, 0) * hours;
      this.export_kwh += Math.max(-kw, 0) * hours;
      this.soc += (kw > 0 ? kw * EFFICIENCY : kw / EFFICIENCY) * hours / CAPACITY_KWH;
      this.now = end;
    }
    this.orders = this.orders.slice(Math.max(this.orders.indexOf(this.inCharge(t)), 0));
  }

  /** Takes a set-point, or refuses it. Returns the body of its ack: what will really flow. */
  obey(setpoint) {
    const refuse = (reason, more = {}) => ({ id: setpoint.id, accepted: false, reason, ...more });
    const from = Math.max(Date.parse(setpoint.valid_from), this.now), until = Date.parse(setpoint.valid_until);
    if (setpoint.epoch < this.epoch || setpoint.epoch > this.epoch + EPOCH_STEP) {
      return refuse(`epoch ${setpoint.epoch}, and the highest seen is ${this.epoch}`, { epoch: this.epoch });
    }
    if (setpoint.power_kw == null) return refuse('a battery takes power_kw, not limit_kw');
    if (until <= this.now) return refuse(`it was valid until ${setpoint.valid_until}`);
    if (until > this.now + LONGEST_MS) return refuse(`it is valid until ${setpoint.valid_until}, which is too long`);
    const order = { from, until, power_kw: setpoint.power_kw, fallback: setpoint.fallback };
    this.epoch = setpoint.epoch;
    this.orders = [...this.orders.filter((known) => known.from < from), order]; // the newest word counts
    const applied_kw = this.possible(order.power_kw, PERIOD_S / 3600);
    return { id: setpoint.id, accepted: true, applied_kw, ...(applied_kw !== order.power_kw && { reason: 'its limits' }) };
  }

  telemetry() {
    return {
      power_kw: this.power(this.now, PERIOD_S / 3600),
      energy_import_kwh: this.import_kwh,
      energy_export_kwh: this.export_kwh,
      soc_frac: this.soc,
    };
  }

  /** The order that began last, also when it has ended since: then its fallback holds. */
  inCharge(t) {
    return this.orders.findLast((order) => order.from <= t);
  }

  power(t, hours) {
    const order = this.inCharge(t);
    const valid = order && t < order.until;
    const holds = valid || order?.fallback === 'hold';
    return this.possible(holds ? order.power_kw : 0, hours); // `idle` and `uncontrolled`: a battery left alone rests
  }

  /** No more than the inverter can, and than the cells can take or give for `hours`. */
  possible(kw, hours) {
    const room = Math.max(SOC_MAX - this.soc, 0) * CAPACITY_KWH / EFFICIENCY / hours;
    const left = Math.max(this.soc - SOC_MIN, 0) * CAPACITY_KWH * EFFICIENCY / hours;
    return Math.min(Math.max(kw, -MAX_KW, -left), MAX_KW, room);
  }
}
