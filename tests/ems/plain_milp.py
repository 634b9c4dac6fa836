"""The same equations as a plain MILP, written directly against highspy and sharing no code with `services.ems`.

Every pair has both flags in every step; no tightening, no cuts, no slots: a stay has a chain of energies of its own,
bands are sums of positive parts. Sources: equations (1)-(21) of the paper (doi 10.1109/sest61601.2024.10694561) with
the soft targets, limits and the tie-break as the site's options name them. Only the frozen problem is read.
"""

import itertools
import math
from datetime import timedelta

import highspy

from services.ems.problem import BessUnit, ChargerUnit, HeatUnit, Problem, Stay

BIG_KW = 5000.0


def least_cost_eur(problem: Problem) -> float:
    """Everything that is minimised: energy, wear, demand charge, penalties and tie-break [€]."""
    return _Plain(problem).solve()


class _Plain:
    def __init__(self, problem: Problem) -> None:
        self.p = problem
        self.dt = problem.step_s / 3600
        self.h = highspy.Highs()
        for name, value in {
            "output_flag": False,
            "threads": 1,
            "mip_rel_gap": 0.0,
            "mip_abs_gap": 0.0,
            "mip_feasibility_tolerance": 1e-9,
            "primal_feasibility_tolerance": 1e-9,
            "dual_feasibility_tolerance": 1e-9,
        }.items():
            self.h.setOptionValue(name, value)
        self.cost = []
        self.exchange = []  # per step import and export
        self.power = {}  # device -> per step list of (coefficient, variable)
        self.constant = {}  # device -> per step constant power
        self.stay_on = []  # (device, rate, efficiency, stay, energy at the window's end)
        self.peak = self.highest = None

    def solve(self):
        p, h = self.p, self.h
        for unit in p.bess:
            self.add_bess(unit)
        for unit in p.chargers:
            self.add_charger(unit)
        for unit in p.fixed:
            self.constant[unit.device] = list(unit.power_kw)
        for unit in p.pv:
            if unit.curtailable:
                produced = [h.addVariable(lb=0, ub=unit.available_kw[t]) for t in range(p.steps)]
                self.power[unit.device] = [[(-1, produced[t])] for t in range(p.steps)]
                self.cost += [(-p.weights.unused_eur_per_kwh * self.dt, each) for each in produced]
            else:
                self.constant[unit.device] = [-a for a in unit.available_kw]
        for unit in p.heat:
            self.add_heat(unit)
        self.add_pcc()
        self.add_groups()
        self.add_outside_limits()
        self.add_later()
        h.minimize(sum(c * v for c, v in self.cost))
        assert h.getModelStatus() == highspy.HighsModelStatus.kOptimal, h.getModelStatus()
        return h.getObjectiveValue()

    def net(self, devices, t, shares=()):
        terms, constant = [], 0.0
        for device, share in zip(devices, shares or [1.0] * len(devices), strict=True):
            terms += [share * c * v for c, v in self.power[device][t]] if device in self.power else []
            constant += share * self.constant[device][t] if device in self.constant else 0.0
        return terms, constant

    def binary(self):
        return self.h.addVariable(lb=0, ub=1, type=highspy.HighsVarType.kInteger)

    def pair(self, charge_max, discharge_max, weight):
        """(7)(8)(11), (17)(18)(19)."""
        h = self.h
        g, v = h.addVariable(lb=0, ub=charge_max), h.addVariable(lb=0, ub=discharge_max)
        x, y = self.binary(), self.binary()
        h.addConstr(g <= charge_max * x)
        h.addConstr(v <= discharge_max * y)
        h.addConstr(x + y <= 1)
        self.cost += [(weight * self.dt, g), (weight * self.dt, v)]
        return g, v, x, y

    def chain(self, before, g, v, unit, lower, upper, soft, floor, weight=1):
        """(3)-(6), (14)-(16): energy at a step's end; ``soft``: it may miss ``lower`` at a price, but not ``floor``."""
        h = self.h
        e = h.addVariable(lb=floor, ub=upper)
        h.addConstr(e - before == self.dt * unit.charge_efficiency * g - self.dt / unit.discharge_efficiency * v)
        if soft:
            s = h.addVariable(lb=0)
            h.addConstr(e + s >= lower)
            self.cost.append((weight * self.p.prices.shortfall_eur_per_kwh, s))
        else:
            h.addConstr(e >= lower)
        return e

    def change(self, before, after):
        """A price on |after − before|, of expressions or numbers."""
        if self.p.prices.ramping_eur_per_kw == 0:
            return
        ramp = self.h.addVariable(lb=0)
        self.h.addConstr(ramp + before >= after)
        self.h.addConstr(ramp + after >= before)
        self.cost.append((self.p.prices.ramping_eur_per_kw, ramp))

    def hold(self, unit, net):
        """A power that is kept."""
        if unit.held_kw is not None:
            self.h.addConstr(net == unit.held_kw)

    def rest(self, unit, capacity, energy, hours):
        """The price of these hours at an energy in store: that of the highest of the lines through neighbouring points
        of the curve, which is convex."""
        if unit.ageing is None or capacity <= 0:
            return
        points = list(zip(unit.ageing.soc_frac, unit.ageing.eur_per_kwh_h, strict=True))
        price = self.h.addVariable(lb=-1e6)
        for (x0, y0), (x1, y1) in itertools.pairwise(points):
            rise = (y1 - y0) / (x1 - x0)
            self.h.addConstr(price >= rise * energy + capacity * (y0 - rise * x0))
        self.cost.append((self.p.weights.cost * hours, price))

    def start(self, energy):
        return self.h.addVariable(lb=energy, ub=energy)

    def add_bess(self, unit: BessUnit):
        p = self.p
        weight = p.prices.tie_throughput_eur_per_kwh + p.weights.cost * p.prices.bess_wear_eur_per_kwh
        below = unit.energy_kwh < unit.energy_min_kwh - 1e-9
        upper = max(unit.energy_max_kwh, unit.energy_kwh)
        e = self.start(unit.energy_kwh)
        net = unit.flowing_kw
        self.power[unit.device] = []
        for t in range(p.steps):
            g, v, _, _ = self.pair(unit.max_charge_kw, unit.max_discharge_kw, weight)
            lower, soft = min(unit.energy_min_kwh, 1e9 if below else unit.energy_kwh), below
            floor = 0.0 if below else lower
            for wish in unit.wishes:
                if wish.step == t and min(wish.energy_kwh, upper) > lower:
                    lower, soft = min(wish.energy_kwh, upper), True
            self.rest(unit, unit.capacity_kwh, e, self.dt / 2)
            e = self.chain(e, g, v, unit, lower, upper, soft, floor)
            self.rest(unit, unit.capacity_kwh, e, self.dt / 2)
            self.power[unit.device].append([(1, g), (-1, v)])
            self.change(net, g - v)
            net = g - v
            if t == 0:
                self.hold(unit, net)
        self.cost.append((-unit.left_eur_per_kwh, e))

    def add_charger(self, unit: ChargerUnit):
        self.power[unit.device] = [[] for _ in range(self.p.steps)]
        self.given = {}
        for stay in unit.stays:
            self.add_stay(unit, stay)
        for cap_kwh, given in self.given.values():
            self.h.addConstr(self.dt * sum(given) <= cap_kwh)

    def add_stay(self, unit: ChargerUnit, stay: Stay):
        p, h = self.p, self.h
        # What is asked at t flows at t + lag.
        asked_until = stay.departure - timedelta(seconds=stay.lag_s)
        if asked_until <= stay.arrival:
            return
        part = []
        for t in range(p.steps):
            begin = max((stay.arrival - p.start).total_seconds(), t * p.step_s)
            end = min((asked_until - p.start).total_seconds(), (t + 1) * p.step_s)
            part.append(max(end - begin, 0) / p.step_s)
        steps = [t for t in range(p.steps) if part[t] > 0]
        if not steps:
            return
        below = stay.energy_kwh < stay.energy_min_kwh - 1e-9
        upper = max(stay.energy_max_kwh, stay.energy_kwh)
        rate = min(unit.max_charge_kw, stay.max_charge_kw)
        after_h = max((asked_until - p.end).total_seconds(), 0) / 3600
        goes_on = p.later is not None and after_h > 0
        target = min(stay.target_kwh - after_h * rate * unit.charge_efficiency, upper)
        tapers = unit.taper is not None and stay.capacity_kwh > 0 and rate > 0

        def fall(part):
            """The part of full power that is lost per unit of SOC; no more than empties a step."""
            lost = (1 - unit.taper.end_power_frac) / (1 - unit.taper.start_frac)
            return min(lost, 2 * stay.capacity_kwh / (unit.charge_efficiency * part * rate * self.dt))

        e = self.start(stay.energy_kwh)
        net = unit.flowing_kw
        for t in steps:
            down = min(unit.max_discharge_kw, stay.max_discharge_kw)
            g, v, x, y = self.pair(part[t] * rate, part[t] * down, p.prices.tie_throughput_eur_per_kwh)
            if t == 0 and unit.now_max_kw < 1e9:
                h.addConstr(g <= part[t] * unit.now_max_kw)
            self.cost.append((p.weights.cost * p.prices.vehicle_wear_eur_per_kwh * self.dt, v))
            if stay.discharge_kwh < 1e9:
                self.given.setdefault((stay.vehicle, stay.departure), (stay.discharge_kwh, []))[1].append(v)
            for day in stay.discharge_days:
                if p.start + timedelta(seconds=t * p.step_s) < day.end:
                    self.given.setdefault((stay.vehicle, "day", day.end), (day.kwh, []))[1].append(v)
                    break
            if t == 0:

                def drawn(least):
                    """Of an offer: what the vehicle can draw of it."""
                    least = min(least, rate)
                    if not tapers or part[0] < 0.02:
                        return least
                    # The mean power g of a vehicle that draws all it can: g = P(1 + k s0) - P k (e0 + η part dt g/2)/C.
                    falls, gain = fall(part[0]), unit.charge_efficiency * part[0] * self.dt
                    most = rate * (1 + falls * unit.taper.start_frac - falls * stay.energy_kwh / stay.capacity_kwh)
                    return max(min(least, most / (1 + rate * falls * gain / (2 * stay.capacity_kwh))), 0.0)

                if unit.phase_gap is not None:  # on one phase or on three
                    on_three = self.binary()
                    h.addConstr(g <= part[t] * (unit.phase_gap.one_phase_max_kw + BIG_KW * on_three))
                    h.addConstr(g >= part[t] * drawn(unit.phase_gap.three_phase_min_kw) - BIG_KW * (1 - on_three))
            if t == 0 and unit.min_power_kw > 0:
                h.addConstr(g >= part[t] * drawn(unit.min_power_kw) * x)
                h.addConstr(v >= part[t] * unit.min_power_kw * y)
            lower, soft = min(stay.energy_min_kwh, 1e9 if below else stay.energy_kwh), below
            floor = 0.0 if below else lower
            weight = 1
            if t == steps[-1] and target > lower and not goes_on:
                lower, soft, weight = target, True, 2 if stay.priority else 1
            before, e = e, self.chain(e, g, v, unit, lower, upper, soft, floor, weight)
            self.rest(unit, stay.capacity_kwh, before, part[t] * self.dt / 2)
            self.rest(unit, stay.capacity_kwh, e, part[t] * self.dt / 2)
            if tapers and part[t] >= 0.02:
                falls = fall(part[t])
                mean = (before + e) * (0.5 / stay.capacity_kwh)
                h.addConstr(g <= part[t] * rate * (1 + falls * unit.taper.start_frac) - part[t] * rate * falls * mean)
            self.power[unit.device][t] += [(1, g), (-1, v)]
            if part[t] == 1 and (t == 0 or part[t - 1] == 1):
                self.change(net, g - v)
            net = g - v
            if t == 0:
                self.hold(unit, net)
        if goes_on:
            self.stay_on.append((unit.device, rate, unit.charge_efficiency, stay, asked_until, e))

    def add_heat(self, unit: HeatUnit):
        """From the differential equation. Heat, cold and heat that is served are variables of their own."""
        p, h = self.p, self.h
        kept = math.exp(-unit.loss_frac_per_h * self.dt)
        gain_h = (1 - kept) / unit.loss_frac_per_h if unit.loss_frac_per_h else self.dt
        comfort = p.prices.shortfall_eur_per_kwh
        free, before = unit.energy_kwh, unit.energy_kwh
        self.power[unit.device] = []
        for t in range(p.steps):
            power = h.addVariable(lb=0, ub=unit.max_power_kw)
            if t == 0 and unit.min_power_kw > 0:
                on = self.binary()
                h.addConstr(power >= unit.min_power_kw * on)
                h.addConstr(power <= unit.max_power_kw * on)
            free = max(kept * free - gain_h * unit.demand_kw[t], 0.0)
            heat = h.addVariable(lb=0, ub=max(unit.energy_max_kwh, free))
            served = h.addVariable(lb=0, ub=unit.demand_kw[t])
            cold = h.addVariable(lb=0)
            h.addConstr(heat - gain_h * unit.cop[t] * power + gain_h * served == kept * before)
            h.addConstr(heat + cold >= unit.energy_min_kwh)
            missing_eur = comfort * (1 + 1.25 * (p.steps - t) * self.dt) * gain_h
            self.cost += [(comfort * self.dt, cold), (-missing_eur, served)]
            self.cost.append((missing_eur * unit.demand_kw[t], h.addVariable(lb=1, ub=1)))
            self.cost.append((p.prices.tie_throughput_eur_per_kwh * self.dt, power))
            self.power[unit.device].append([(1, power)])
            before = heat

    def add_later(self):
        """Hour by hour after the window: those who stay on charge, nothing else is decided."""
        p, h = self.p, self.h
        if p.later is None:
            return
        hourly = [[] for _ in p.later.net_load_kw]
        for device, rate, efficiency, stay, asked_until, e in self.stay_on:
            left_h, gained = (asked_until - p.end).total_seconds() / 3600, []
            for t in range(len(hourly)):
                q = h.addVariable(lb=0, ub=rate * min(max(left_h - t, 0), 1))
                hourly[t].append((device, q))
                gained.append(efficiency * q)
                self.cost.append((2 * p.prices.tie_throughput_eur_per_kwh, q))
            upper = max(stay.energy_max_kwh, stay.energy_kwh)
            target = min(stay.target_kwh - max(left_h - len(hourly), 0) * rate * efficiency, upper)
            h.addConstr(e + sum(gained) <= upper)
            short = h.addVariable(lb=0)
            h.addConstr(e + sum(gained) + short >= target)
            self.cost.append(((2 if stay.priority else 1) * p.prices.shortfall_eur_per_kwh, short))
        for t, charging in enumerate(hourly):
            net = p.later.net_load_kw[t]
            unsold = h.addVariable(lb=0, ub=max(-net, 0))
            bought = h.addVariable(lb=0, ub=max(p.import_limit_kw - max(net, 0), 0))
            h.addConstr(sum(q for _, q in charging) - unsold - bought == 0)
            month = self.month(self.p.steps * self.dt + t * p.later.step_h)
            if month < len(self.peaks):
                paid = [max(p.month_peak_kw, p.free_peak_kw), p.next_free_peak_kw][month]
                h.addConstr(self.peaks[month] >= min(max(net, 0), paid) + bought)
                seen = [p.month_peak_kw, 0][month]
                h.addConstr(self.highests[month] >= min(max(net, 0), seen) + bought)
            self.cost += [(p.later.sale_eur_per_kwh[t], unsold), (p.later.purchase_eur_per_kwh[t], bought)]
            for group in p.later.groups:
                behind = [group.share(device) * q for device, q in charging if group.share(device)]
                if behind:
                    h.addConstr(sum(behind) <= max(group.limit_kw - group.loads_kw(len(hourly))[0][t], 0))

    def month(self, hours):
        """0: that of the window's begin, 1: the next one."""
        end = self.p.month_end
        return int(end is not None and self.p.start + timedelta(hours=hours) >= end)

    def add_pcc(self):
        """(1)(2)(20)(21), the limits softened, import and export exclusive; bands as sums of positive parts."""
        p, h = self.p, self.h
        devices = sorted({*self.power, *self.constant})
        self.peaks = [h.addVariable(lb=max(p.month_peak_kw, p.free_peak_kw))]
        self.highests = [h.addVariable(lb=p.month_peak_kw)]
        if self.month((p.steps - 1) * self.dt) == 1:
            self.peaks.append(h.addVariable(lb=p.next_free_peak_kw))
            self.highests.append(h.addVariable(lb=0))
        self.cost += [(p.weights.cost * p.prices.demand_eur_per_kw, peak) for peak in self.peaks]
        self.cost += [(p.weights.peak_eur_per_kw, highest) for highest in self.highests]
        for free_kw in p.ratchet_free_kw:
            raised = h.addVariable(lb=0)
            h.addConstr(raised >= self.highests[0] - free_kw)
            self.cost.append((p.weights.cost * p.prices.ratchet_eur_per_kw, raised))
        for t in range(p.steps):
            buy, sell = h.addVariable(lb=0, ub=BIG_KW), h.addVariable(lb=0, ub=BIG_KW)
            self.exchange.append((buy, sell))
            x, y = self.binary(), self.binary()
            h.addConstr(buy <= BIG_KW * x)
            h.addConstr(sell <= BIG_KW * y)
            h.addConstr(x + y <= 1)
            terms, constant = self.net(devices, t)
            h.addConstr(buy - sell - sum(terms) == p.load_kw[t] + p.losses_kw[t] + constant)
            h.addConstr(self.peaks[self.month(t * self.dt)] >= buy)
            h.addConstr(self.highests[self.month(t * self.dt)] >= buy)
            w, co2_kg = p.weights, p.co2_g_per_kwh[t] / 1000 if p.co2_g_per_kwh else 0.0
            bought = w.cost * p.purchase_eur_per_kwh[t] + w.co2_eur_per_kg * co2_kg
            sold = w.cost * p.sale_eur_per_kwh[t] - w.unused_eur_per_kwh
            self.cost += [(self.dt * bought, buy), (-self.dt * sold, sell)]
            flat, limit = p.prices.tie_flat_eur_per_kwh, p.prices.limit_eur_per_kwh
            m = p.flat_reference_kw
            for flow, edge, price in [
                *((buy, min(k * m, p.import_limit_kw), flat) for k in (1, 1.25, 1.5)),
                (buy, p.import_limit_kw, limit),
                (sell, min(0.5 * m, p.export_limit_kw), flat),
                (sell, p.export_limit_kw, limit),
            ]:
                above = h.addVariable(lb=0)
                h.addConstr(above >= flow - edge)
                self.cost.append((self.dt * price, above))

    def add_outside_limits(self):
        p, h = self.p, self.h
        for limit in p.outside_limits:
            for t in range(p.steps):
                if limit.group:
                    terms, constant = self.net(limit.devices, t)
                    drawn = sum(terms) + constant if terms else constant
                    ways = ((drawn, limit.import_kw[t]), (-1 * drawn, limit.export_kw[t]))
                else:
                    buy, sell = self.exchange[t]
                    ways = ((buy, limit.import_kw[t]), (sell, limit.export_kw[t]))
                for flow, allowed in ways:
                    if allowed < 1e9:
                        over = h.addVariable(lb=0)
                        h.addConstr(over >= flow - allowed)
                        price = p.prices.outside_limit_eur_per_kwh * (1 + 0.01 * (p.steps - 1 - t) / p.steps)
                        self.cost.append((self.dt * price, over))

    def add_groups(self):
        p, h = self.p, self.h
        for group in p.groups:
            for t in range(p.steps):
                terms, constant = self.net(group.devices, t, group.shares)
                most, least = (values[t] for values in group.loads_kw(p.steps))
                upper = group.limit_kw - constant - most
                lower = min(-group.limit_kw - constant - least, upper)
                over = h.addVariable(lb=0)
                if terms:
                    h.addConstr(sum(terms) - over <= upper)
                    h.addConstr(sum(terms) + over >= lower)
                else:
                    h.addConstr(over >= max(-upper, lower))
                self.cost.append((self.dt * p.prices.limit_eur_per_kwh, over))
