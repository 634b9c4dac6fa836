// Attaches a battery to a site by MQTT, in wall time. Knows MQTT.js and the contract's AsyncAPI document.
//
//     node attach.js --broker mqtt://127.0.0.1:1883 --site fit-g2v --device bess
//     node attach.js --broker mqtts://localhost:8883 --cafile ca.crt --cert bess.crt --key bess.key
//
// docs/attach-a-device.md walks through it. The battery is battery.js, the command line options.js.

import { randomBytes } from 'node:crypto';
import { appendFileSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import mqtt from 'mqtt';
import { BIRTH, Battery, PERIOD_S } from './battery.js';
import { read } from './contract.js';
import { options } from './options.js';

const { broker, site, device, access, memory } = options();
const PERIOD_MS = PERIOD_S * 1000;
const SESSION = `twin/v2/${site}/clock/+/run`;
const own = (channel) => `twin/v2/${site}/bess/${device}/${channel}`;

// ---- What outlives this process. It is on disk before anything that follows from it is sent.

// The first line of the file is all of it; each message since is a line more, so that however many wait for the broker,
// one more is as quick to write.

const MOST = 50_000; // messages that wait: six days of them, and fewer than MQTT has numbers for at a time

const { unconfirmed, ...known } = recall();
const battery = new Battery(known.battery);
let life = known.life;
let lines = 0;

function recall() {
  try {
    const [whole, ...more] = readFileSync(memory, 'utf8').split('\n');
    more.pop(); // empty, or a line that was cut off: its message was not sent
    const { unconfirmed, ...known } = JSON.parse(whole);
    for (const { said, seqs, battery } of more.map((line) => JSON.parse(line))) {
      unconfirmed.push(said);
      known.life.seqs = seqs;
      known.battery = battery;
    }
    return { ...known, unconfirmed: new Set(unconfirmed) };
  } catch (error) {
    if (error.code !== 'ENOENT') throw error; // to begin anew would make the registers go back: somebody has to look
    return { life: newLife(), unconfirmed: new Set() };
  }
}

function remember() {
  writeFileSync(`${memory}.new`, `${JSON.stringify({ life, battery, unconfirmed: [...unconfirmed] })}\n`);
  renameSync(`${memory}.new`, memory); // at any moment there is a whole file
  lines = 0;
}

function add(said) {
  unconfirmed.add(said);
  if (unconfirmed.size > MOST) unconfirmed.delete(unconfirmed.values().next().value); // registers count its energy, too
  if (++lines > MOST) return remember();
  appendFileSync(memory, `${JSON.stringify({ said, seqs: life.seqs, battery })}\n`);
}

// ---- Messages. (boot, topic, seq) is the identity of one: under it the same bytes are sent, however often.

function message(channel, body, t = sessionTime()) {
  const seq = (life.seqs[channel] = (life.seqs[channel] ?? 0) + 1);
  return stamped(channel, seq, body, t);
}

function stamped(channel, seq, body, t) {
  const stamp = { contract: 2, ts: new Date(t).toISOString(), boot: life.boot, seq };
  const text = JSON.stringify({ ...stamp, ...(life.run && { run: life.run }), ...body });
  return { topic: own(channel), text, retain: channel === 'birth' || channel === 'state' };
}

function say(one) {
  add(one);
  if (client.connected) send(one); // else once it is
}

function send(one) {
  handed.add(one);
  client.publish(one.topic, one.text, { qos: 1, retain: one.retain }, (error) => {
    if (!error && unconfirmed.delete(one) && unconfirmed.size === 0) remember();
  });
}

// ---- Lives. A life has one boot, one run and one connection, because the last will of that names the boot.

let client, handed; // what it was given: after a broken connection it sends that again by itself

function join(run) {
  const waited = life.run === ''; // this life has no run yet, so it takes this one; any other run is a new life
  if (!waited) life = newLife();
  life.run = run;
  introduce();
  if (waited) life.kept.forEach(send);
  else connect();
}

function newLife() {
  return { run: '', boot: randomBytes(6).toString('hex'), seqs: {}, kept: [] };
}

function introduce() {
  life.kept = [message('birth', BIRTH), message('state', { state: 'online' })];
  remember();
}

function connect() {
  client?.end(true);
  handed = new WeakSet();
  const offline = stamped('state', 0, { state: 'offline' }, sessionTime()); // a last will is number 0
  const will = { topic: offline.topic, payload: offline.text, qos: 1, retain: true };
  const clientId = `${site}_${device}`;
  client = mqtt.connect(broker, { ...access, clientId, protocolVersion: 4, reconnectOnConnackError: true, will });
  client.on('connect', () => {
    client.subscribe([SESSION, own('setpoint')], { qos: 1 });
    life.kept.forEach(send); // after a broken connection, too: the last will has said that we are gone
    unconfirmed.forEach((one) => handed.has(one) || send(one));
  });
  client.on('message', (topic, payload) => onMessage(topic, payload.toString()));
  client.on('error', (error) => console.error(`${broker}: ${error.message}`)); // it tries again, once a second
  client.on('offline', () => console.error(`${broker}: no connection`));
}

// ---- Wall time: everyone goes by the retained session and a clock of their own, whether the clock service lives or not.

let session, timer;

function sessionTime() {
  if (!session) return Date.now();
  const t = session.t0 + (Date.now() - session.wall0) * session.speed;
  return Math.min(Math.max(t, session.t0), session.end);
}

function onSession({ run, mode, ended, speed, ...told }) {
  if (mode !== 'wall' || !run || run < life.run) return; // a lock-step run is not for us; an older one is a leftover
  const resumed = !session;
  clearTimeout(timer);
  if (ended) {
    if (session) tell(); // up to the end: energy that is in no telemetry is never settled
    session = undefined;
    return;
  }
  const end = told.t_end ? Date.parse(told.t_end) : Infinity;
  session = { t0: Date.parse(told.t0), wall0: Date.parse(told.wall0), speed: speed ?? 1, end };
  if (run > life.run) {
    battery.forget();
    join(run);
  }
  if (resumed || battery.now === null) battery.resume(sessionTime());
  tellWhenDue();
}

function tellWhenDue() {
  const due = (Math.floor(Math.max(sessionTime(), battery.now) / PERIOD_MS) + 1) * PERIOD_MS;
  if (due > session.end) return;
  timer = setTimeout(() => {
    tell(due); // a timer may be early by a fraction of a millisecond
    tellWhenDue();
  }, (due - sessionTime()) / session.speed);
}

function tell(due = 0) {
  battery.advance(Math.max(sessionTime(), due));
  say(message('telemetry', battery.telemetry(), battery.now));
}

// ---- What arrives

const rejected = {};
let newest = {};

function onMessage(topic, text) {
  if (!text) return; // somebody deleted what was retained
  const channel = topic.split('/').at(-1);
  const { fault, body } = read(channel, text);
  if (fault) {
    reject(topic, fault);
  } else if (channel === 'run') {
    onSession(body);
  } else {
    onSetpoint(body);
  }
}

function reject(topic, reason) {
  if (Date.now() - (rejected[topic] ?? 0) < 60_000) return; // a flood of garbage is not answered by another flood
  rejected[topic] = Date.now();
  console.error(`${topic}: ${reason}`);
  say(message('reject', { topic, reason: reason.slice(0, 500) }));
}

function onSetpoint(setpoint) {
  if (!session || (setpoint.run ?? life.run) !== life.run) return;
  if (setpoint.boot === newest.boot && setpoint.seq <= newest.seq) return; // QoS 1 may deliver twice
  newest = setpoint;
  battery.advance(sessionTime());
  say(message('ack', battery.obey(setpoint), battery.now));
}

if (life.kept.length === 0) introduce();
else remember();
connect();
