// Confirms a plan of the EMS without a solver: feasible, at the cost it states, at most so far from the optimum.
//
//   node check.mjs CERTIFICATE.json … [--sha256 HEX] [--plan PLAN.json] [--gap 1e-4]
//
// Exit code 0: all confirmed; 1: one is rejected, with the reasons; 2: a file cannot be read. No packages are needed.
// --sha256 is the digest of the problem, --plan the plan's message, each from another source than the certificate:
// without them a certificate is only consistent with itself. docs/certificates.md says what that shows.
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { parseArgs } from "node:util";

const FORMAT = "twinswarm certificate 1";
const TOLERANCE = 1e-6; // of a bound, relative where it is above 1; of a cost in €; of a set-point in kW
const SMALL_TOTAL_EUR = 50; // with binaries the gap is a share of at least this
const low = (bound) => bound ?? -Infinity;
const high = (bound) => bound ?? Infinity;
const known = (...numbers) => numbers.every(Number.isFinite);
const apart = (a, b) => !(known(a, b) && Math.abs(a - b) <= TOLERANCE * Math.max(1, Math.abs(b)));
const pairs = (flat) => Array.from({ length: flat.length / 2 }, (_, i) => [flat[2 * i], flat[2 * i + 1]]);
const within = (x, lower, upper) => known(x) &&
  x >= low(lower) - TOLERANCE * Math.max(1, Math.abs(lower)) && x <= high(upper) + TOLERANCE * Math.max(1, Math.abs(upper));
const sum = (terms) => terms.reduce((total, term) => total + term, 0);
const times = (flat, values) => sum(pairs(flat).map(([column, factor]) => factor * values[column]));

/** SHA-256 over all names and numbers in their order. */
function digestOf(problem) {
  const hash = createHash("sha256");
  const number = Buffer.alloc(8);
  const feed = (part) => {
    if (Array.isArray(part)) part.forEach(feed);
    else if (part !== null && typeof part === "object") Object.entries(part).forEach(feed);
    else if (typeof part === "number") number.writeDoubleLE(part), hash.update(number);
    else hash.update(`${part}\n`);
  };
  feed(problem);
  return hash.digest("hex");
}

/** Weak duality: no x within the bounds costs less, whatever the duals are. A flag that is fixed has no other bounds. */
function boundOf({ columns, rows }, cost, { fixed, duals }) {
  if (duals.length !== rows.length || !known(...duals)) return NaN;
  const reduced = [...cost];
  rows.forEach(([, , , , entries], i) => pairs(entries).forEach(([j, a]) => (reduced[j] -= duals[i] * a)));
  const held = new Map(fixed);
  const least = (price, lower, upper) => (price === 0 ? 0 : price > 0 ? price * low(lower) : price * high(upper));
  const sides = rows.map(([, , lower, upper], i) => least(duals[i], lower, upper));
  const ends = columns.map(([, lower, upper], j) => least(reduced[j], held.get(j) ?? lower, held.get(j) ?? upper));
  return sum(sides) + sum(ends);
}

/** Whether the leaves have every combination of the flags among them. */
function cover(leaves) {
  if (leaves.some((leaf) => leaf.length === 0)) return true;
  if (leaves.length === 0) return false;
  const flag = leaves[0][0][0];
  const side = (value) => leaves.filter((leaf) => leaf.every(([j, v]) => j !== flag || v === value));
  return [0, 1].every((value) => cover(side(value).map((leaf) => leaf.filter(([j]) => j !== flag))));
}

/** The plan's own sums against the columns and costs of the problem. */
function planFaults(plan, { columns, costs, money }, values, part) {
  const of = (names) => plan.pcc_kw.map((_, t) => // a name is variable[member,step] or variable[step]
    sum(columns.flatMap(([name], j) => (names.some((n) => name.startsWith(`${n}[`)) && step(name) === t ? [values[j]] : []))));
  const step = (name) => Number(name.match(/(\d+)\]$/)?.[1]);
  const bought = of(["imports", "import_over"]), sold = of(["exports", "export_over"]);
  const hours = plan.step_s / 3600;
  // A peak for each month that the window has a part of.
  const peaks = columns.flatMap(([name, paid], j) => (name === "peak" || name === "next_peak" ? [[paid, values[j]]] : []));
  const paid = sum(peaks.map(([kw]) => kw)), billed = sum(peaks.map(([, kw]) => kw));
  const demand = (kw) => money.demand_eur_per_kw * kw;
  const flows = sum(["import", "export"].map((way) => part(`exchange_${way}`) + part(`connection_limit_${way}`)));
  // Of what a ratchet adds to later bills the plan says how much is new: the month's peak so far has added its own.
  const before = columns.find(([name]) => name === "highest_import")?.[1] ?? 0;
  const free = columns.filter(([name]) => name.startsWith("ratchet_free[")).map(([, kw]) => kw);
  const kept = (costs.find(([name]) => name === "ratchet")?.[1][1] ?? 0) * sum(free.map((kw) => Math.max(before - kw, 0)));
  const worn = plan.wear_eur + (plan.calendar_wear_eur ?? 0), spent = (name) => part(name) / money.weight;
  // Beside a weight on money that is not 1, and weights on more than money, stands by how much they differ from money.
  const weighted = part("weighting") + (money.weight - 1) * (worn + demand(billed) + (money.weight > 0 ? spent("ratchet") : 0)) - (plan.weighting_eur ?? 0);
  const fields = {
    objective_eur: flows + weighted, demand_eur: demand(billed - paid), later_eur: part("later"),
    ...(money.weight > 0 ? { wear_eur: spent("wear"), calendar_wear_eur: spent("calendar_wear"), ratchet_eur: (part("ratchet") - kept) / money.weight } : {}), peak_weight_eur: part("highest_import"),
    ramping_eur: part("ramping"), tie_break_eur: part("tie_break"),
    penalty_eur: sum(costs.map(([name]) => (name.endsWith(":penalty") ? part(name) : 0))),
  };
  const faults = Object.entries(fields).filter(([name, eur]) => apart(eur, plan[name] ?? 0)).map(([name]) => `plan: ${name}`);
  const { purchase_price_eur_per_kwh: buy, sale_price_eur_per_kwh: sell } = plan;
  if (apart(hours * sum(bought.map((kw, t) => kw * buy[t] - sold[t] * sell[t])), plan.objective_eur)) faults.push("plan: prices");
  const drawn = plan.pcc_kw.map((_, t) => sum(Object.values(plan.devices).map((device) => device.power_kw[t])));
  plan.pcc_kw.forEach((kw, t) => {
    if (apart(bought[t] - sold[t], kw)) faults.push(`plan: pcc_kw of step ${t}`);
    if (apart(plan.load_kw[t] + plan.losses_kw[t] + drawn[t], kw)) faults.push(`plan: power balance of step ${t}`);
  });
  return faults;
}

/** A published set-point is the first step's value, or differs in the way that its reason allows. */
function setpointFault(device, published, entries, { columns }, values) {
  if (published === undefined) return `no set-point of ${device}`;
  const { power_kw, limit_kw, why } = published, planned = times(entries, values);
  if (limit_kw !== undefined) {
    const cut = times(entries, columns.map(([, , most]) => most)) - planned > TOLERANCE;
    return (cut ? apart(limit_kw, planned) : !(limit_kw >= planned - TOLERANCE)) && `set-point of ${device}: ${limit_kw} kW`;
  }
  const more = power_kw * planned > 0 && Math.abs(power_kw) > Math.abs(planned), none = power_kw === 0;
  const allowed = { no_vehicle: none, no_meter: none, taper: more, smallest_power: more || none, bounded: more };
  return apart(power_kw, planned) && allowed[why] !== true && `set-point of ${device}: ${power_kw}, planned ${planned} kW`;
}

/** What is wrong with a certificate, and what it shows. */
export function check(certificate, { sha256, plan = certificate.plan, gap: allowed = 1e-4 } = {}) {
  const { problem, values, leaves, costs_eur: stated } = certificate;
  const { columns, rows, costs } = problem;
  const faults = [], digest = digestOf(problem);
  if (certificate.format !== FORMAT) faults.push(`the format is not "${FORMAT}"`);
  if (digest !== certificate.problem_sha256 || digest !== (sha256 ?? digest)) faults.push("the problem is not that of the digest");
  if (values.length !== columns.length) faults.push("not one value for each column");
  columns.forEach(([name, lower, upper, whole], j) => {
    if (!within(values[j], lower, upper)) faults.push(`${name} = ${values[j]} is not within ${lower} … ${upper}`);
    if (whole && apart(values[j], Math.round(values[j]))) faults.push(`${name} = ${values[j]} is no whole number`);
  });
  for (const [name, term, lower, upper, entries] of rows)
    if (!within(times(entries, values), lower, upper)) faults.push(`row ${name} (${term}) does not hold`);
  const spent = new Map(costs.map(([part, entries]) => [part, times(entries, values)]));
  for (const part of new Set([...spent.keys(), ...Object.keys(stated)]))
    if (apart(spent.get(part), stated[part])) faults.push(`cost of ${part}: ${spent.get(part)} instead of ${stated[part]} €`);
  const cost = columns.map(() => 0);
  costs.forEach(([, entries]) => pairs(entries).forEach(([j, eur]) => (cost[j] += eur)));
  const total = sum(cost.map((eur, j) => eur * values[j]));
  if (apart(total, certificate.total_eur)) faults.push(`total cost: ${total} instead of ${certificate.total_eur} €`);
  const flags = leaves.every(({ fixed }) => fixed.every(([j, v]) => columns[j][1] === 0 && columns[j][2] === 1 && columns[j][3] && (v === 0 || v === 1)));
  if (!flags || !cover(leaves.map(({ fixed }) => fixed))) faults.push("the leaves do not have all values of the binaries among them");
  const bound = Math.min(...leaves.map((leaf) => boundOf(problem, cost, leaf)));
  const gap = Math.max(total - bound, 0) / Math.max(Math.abs(total), 1e-9);
  if (apart(bound, certificate.bound_eur)) faults.push(`bound: ${bound} instead of ${certificate.bound_eur} €`);
  const share = Math.max(Math.abs(total), columns.some(([, , , whole]) => whole) ? SMALL_TOTAL_EUR : 0);
  if (!(total - bound <= Math.max(allowed * share, TOLERANCE))) faults.push(`gap ${gap} is more than ${allowed}`);
  const published = certificate.setpoints;
  faults.push(...problem.setpoints.map(([name, of]) => setpointFault(name, published[name], of, problem, values)).filter(Boolean));
  if (Object.keys(published).length !== problem.setpoints.length) faults.push("set-points of devices that are not in the problem");
  faults.push(...planFaults(plan, problem, values, (part) => spent.get(part) ?? 0));
  return { faults, total, bound, gap, digest };
}

function main() {
  const options = { sha256: { type: "string" }, plan: { type: "string" }, gap: { type: "string" } };
  const { values: given, positionals } = parseArgs({ options, allowPositionals: true });
  const read = (file) => JSON.parse(readFileSync(file, "utf8"));
  const beside = { sha256: given.sha256, plan: given.plan && read(given.plan), gap: given.gap && Number(given.gap) };
  if (!positionals.length) throw new Error("no certificate is given");
  for (const file of positionals) {
    const { faults, total, bound, gap, digest } = check(read(file), beside);
    const shown = `${total.toFixed(4)} €, no plan below ${bound.toFixed(4)} €, gap ${gap.toExponential(1)}, problem ${digest}`;
    console.log(faults.length ? `REJECTED ${file}: ${faults.slice(0, 5).join("; ")}` : `confirmed ${file}: ${shown}`);
    if (faults.length) process.exitCode = 1;
  }
}

if (import.meta.url === `file://${process.argv[1]}`)
  try { main(); } catch (error) { console.error(`cannot be read: ${error.message}`); process.exitCode = 2; }
