"""Writes docs/topics.md from the contract in schemas/, with an example of every message.

python docs/topics.py
"""

import json
import re
from pathlib import Path
from typing import Any

from schemas.clauses import Clause
from schemas.examples import examples
from schemas.messages import CONTRACT
from schemas.roles import WRITES
from schemas.topics import Channel, Kind
from schemas.wire import MAX_PAYLOAD_BYTES, body_type, encode

PAGE = Path(__file__).with_suffix(".md")

# Which of those who may write a channel do so, and when; the one thing that neither models nor roles know.
WRITERS = {
    Channel.BIRTH: "every participant, about itself, when it joins",
    Channel.STATE: "every participant, about itself; the broker, as its last will",
    Channel.RUN: "the clock",
    Channel.TELEMETRY: "devices, the network twin, real meters",
    Channel.SERIES: "tariff (prices) and forecast (load, PV, charging sessions)",
    Channel.LIMIT: "a source of limits from outside: a control box, an OpenADR client, a relay",
    Channel.REQUEST: "an operator: who carries what persons ask for, such as `twinswarm homeassistant --commands`",
    Channel.EVENT: "whoever tests a simulated site, on the topic of the twin to which it happens",
    Channel.SETPOINT: "the EMS, on the topic of the device that has to obey",
    Channel.ACK: "the device that received a set-point",
    Channel.PLAN: "the EMS",
    Channel.DECISION: "the EMS, with every plan, in wall time",
    Channel.PREDICTION: "a shadow, about the device beside which it runs",
    Channel.EARNINGS: "the ghosts: devices that do not exist",
    Channel.TICK: "the clock, in lock-step",
    Channel.DONE: "every participant, in lock-step: the answer to a tick",
    Channel.RECEIPT: "the recorder, on its own topic; in wall time on the topic of each participant that stores and "
    "forwards",
    Channel.ALARM: "a shadow: its device is not as described; the ghosts: their account is less sure than usual; "
    "the network twin: voltage or loading out of bounds, unknown device; the EMS: a limit from outside "
    "exceeded, without its heartbeat, or for an unknown group, a device that is silent, has a wrong clock or does "
    "not do what it acknowledged; "
    "the recorder: low disk; EMS and recorder: a [service that is silent](#metric); "
    "a [source of limits](limits.md): it is not heard, or not understood; "
    "a twin: an [event](#event) by command; every participant: its machine's clock was set",
    Channel.METRIC: "every participant, about itself, in wall time",
    Channel.REJECT: "the participant that ignored a message, in wall time",
}

# What a channel's example does not show.
NOTES = {
    Channel.BIRTH: """The nameplate's `type` is the topic's kind: `meter` for a `network`, `service` for a participant
without power. EMS, analysis and dashboards go by `capabilities`, not by the kind. The nameplate implies
them: a device that leaves them out has those, and one that states others is answered by a reject. A service has none.

| capability | a device with it |
|---|---|
| `storage` | stores energy and measures how full the store is, `soc_frac` |
| `vehicles` | its store is a vehicle that comes and goes |
| `heat` | its store holds heat: the energy drawn does not come back as electricity |
| `generation` | produces as much as the weather offers, and measures how much that is, `available_kw` |
| `curtailable` | its production follows set-points with `limit_kw` |
| `fixed_load` | draws power that no set-point changes |
| `flexible_load` | the power it draws follows set-points with `power_kw` |
| `two_way` | gives power as well: `power_kw` may be negative |
| `metering` | measures the power of others, at the PCC or behind a submeter, and has none of its own |
| `single_phase` | has all of its power on one phase |
""",
    Channel.TELEMETRY: """Everything in `vehicle` is optional: an ordinary AC car is `"vehicle": {}`, and a value that
is not known is left out. Its SOC counts as `measured` and all else as `stated`, unless `sources` says otherwise:
`"sources": {"soc_frac": "assumed"}`. Without `charged_kwh` the EMS counts by the registers since it first saw the
vehicle. Without `arrival` a session ends when the plug is free, another `vehicle` comes, or a counter falls. Instead of
`target_soc_frac` there may be `energy_wanted_kwh`, AC energy from arrival to departure.

The first telemetry after a vehicle was unplugged has it in `departed`, a list: the fields of `vehicle` as they were at
that instant, and `left`, when it was. With it the savings are settled to the second; a charger that does not know
leaves it out.
""",
    Channel.SERIES: """Of an expected charging session all but `charger` and `arrival` may be unknown and left out.
""",
    Channel.PLAN: """A charger's part may have `assumptions`, each with `value`, `number` or `time`, and the `arrival`
of its session: what the site assumes of a vehicle that does not say it. `left_to_fallback` is there when too little is
known of the plugged vehicle, and says why the charger gets no set-point.

In wall time `knowledge` has, for every device that has published a birth: its newest power and SOC, their age, whether
it is in the plan or `why_not`, and `clock_behind_s` when its clock is wrong.
""",
    Channel.DECISION: """It has the `boot` and the `ts` of its plan. `snapshot` is compressed JSON, in Python
`json.loads(zlib.decompress(base64.b64decode(snapshot)))`; what stands in it is the EMS' own affair and may change with
its version. `twinswarm replay` reads it: [replay.md](replay.md).
""",
    Channel.PREDICTION: """[shadow.md](shadow.md) has how it comes about. Every settlement step in lock-step, at most
once a minute in wall time. Powers are means over `interval_s`; what is not known, as without a vehicle, is left out.
""",
    Channel.EARNINGS: """[ghosts.md](ghosts.md) has how it comes about. Once a settlement step, and when `degraded`
changes. `unmanaged` stands where there is a ghost charger, `cycles` at a battery, `missing_kwh` at a charger.
""",
    Channel.RUN: """In wall time a clock may announce the same run again with a lower `speed` when the machine is
too slow for it (`--when-late slow`): `t0` and `t_end` stay, `wall0` moves, so that time goes on from where it is.
Whoever follows the newest announcement by `t0 + (now - wall0) · speed` needs nothing more. With the same
speed another `wall0` says that the clock of the clock's machine was set; who counts by a clock that was not goes on as
before.
""",
    Channel.EVENT: """A real device does not read it.

`event` is one of [scenario.md](scenario.md), its times as points in time; one that is past counts as now. The twin
answers by an alarm whose `element` is the `id`: `scripted_event`, active until the event is over, or
`scripted_event_refused` with the reason. `twinswarm event` sends one.
""",
    Channel.ALARM: """`sent_thinned` and `sent_not_kept`, of a participant that stores and forwards: the recorder has
been away for so long that the oldest telemetry is thinned; its disk refuses to keep what it sends, which is sent all
the same.

`setpoint_unanswered` of the EMS: a device did not answer its last set-point by the next plan.
In wall time (`ems.power_watch`): `setpoint_not_followed` of the EMS, for a device that does not do what it acknowledged
([model.md](model.md)).

`shadow_parted` of a [shadow](shadow.md): `element` is the parameter by which `device` has parted from its description,
`value` as measured, `limit` as described. It comes again when more is known of which parameter it is.

`ghosts_degraded` of the [ghosts](ghosts.md): why their account is less sure than usual, as `degraded` of `earnings`. It
comes again when the reasons change.

About time and presence, in wall time: `device_silent`, `pcc_meter_silent` and `clock_skew` of the
EMS, looked at every minute; `clock_stepped` of every participant; `feed_failed`, `feed_stale` and `feed_holes` of a
tariff or forecast with feeds ([feeds.md](feeds.md)); `hardware_silent` and `hardware_trouble` of a driver.
[design.md](design.md#time) has the rules.

`messages_dropped` of the clock, in wall time: the broker has dropped messages for a client that does not take them. It
comes again every minute while more are dropped; `value` is the broker's count since it started.

`identity_reused`, of every participant that notices it in wall time: a number was used before with other bytes, by a
device that restarted under the same `boot`. It counts as another life from there on, under that boot with the suffix
`-again1`, `-again2`, …; the recorder keeps both. Better is a new `boot` for each life. Messages that only the
recorder's file can tell apart become dead letters ("used before"). `identity_contested`: another process, of another
boot, lives under the same identity at the same time; one of them acts, the other one stands by.
""",
    Channel.LIMIT: """A message replaces the sender's last one. Without any kW, or with a `valid_until` that has passed,
it withdraws the limit. Powers are means over a settlement period (`step_s` of the run).

- **Who obeys.** The EMS plans within it from its next plan on, so within one settlement period; in a plan a period
  counts as limited if the limit is valid in any part of it. It is a soft limit of the plan: more important than every
  energy target, less than the connection, cables and transformer. Power beyond it is a shortfall of kind
  `outside_limit`. A device
  without a valid set-point stays within it by itself, see [model.md](model.md#limits-from-outside).
- **Heartbeat.** With `heartbeat_s` the same message comes again, with a newer `ts`, at least that often. After two
  periods without one, by `ts` and the time of the run, the failsafe values hold until a message comes or the limit
  ends. A failsafe without an ordinary value is possible: no limit while the heartbeat is there.
- **Alarms**, of the EMS: `outside_limit_failsafe`, `outside_limit_exceeded` (mean power of a period in which the limit
  was known from the beginning), `outside_limit_unknown_group`. `connection_limit_exceeded` is the same of what the
  site's connection may carry, with or without a limit from outside; both from 1 % and 0.1 kW on.
  `fallbacks_above_limit`: what the devices would do together without an EMS is more than connection, groups or network
  may carry, see [model.md](model.md#limits-from-outside).

`twinswarm limit SITE --import 20kW --for 1h --source "grid operator"` sends one with its heartbeat; `twinswarm limiter`
hears a relay or an OpenADR server, see [limits.md](limits.md).
""",
    Channel.REQUEST: """Only the EMS reads it, with `ems.requests` in the site, and it alone writes set-points: a device
has one writer. A message replaces the sender's last one, and holds for an hour at most, so it is repeated while the
sender is there; when it ends the EMS decides again. A retained one that has ended means nothing.

- **Power.** The device is planned with it and sent it as a set-point, with cause `request`, expiry and fallback as
  ever, as far as its rating, SOC, consent to V2G and the limits allow; `requests` of the plan says what comes of each
  and why. It goes before energy prices and targets.
- **Standby.** No set-points, save what limits from outside demand. Those that were sent hold to their end.
- **When.** From the next plan on: in wall time at the pace of time within `ems.replan_least_s`, else with the next
  settlement period.
""",
    Channel.RECEIPT: """On a participant's topic, about that one's messages, with the numbers that are on disk:

```json
"ranges": {"5f0c9a": {"twin/v2/fit-g2v/charger/ev1/telemetry": [[1, 340], [352, 360]]}}
```

**Store and forward**, in wall time. Whoever keeps what it sends until a receipt names it says so in its birth,
`store_and_forward: true`, and is given a receipt of what came since the last one, every 10 s of the run at most. It
forgets what is named. What it sent before the newest message that this receipt names, and was not named, is lost on the
way: it sends it again, byte for byte, on `twin/forward/v2/…` in the place of `twin/v2/…`, not retained. Only the
recorder reads these topics, so that nobody acts on an old message; each participant may write those of its own
channels. A message that comes twice is stored once. `run`, `tick`, `done` and `receipt` are not sent again.

A participant that does without is not asked, and `twinswarm devices` says `not kept`.
""",
    Channel.METRIC: """Every minute of the machine's clock; of EMS, recorder, clock, forecast and tariff every 15 s, as
the `heartbeat_s` of their births promises:

| name | meaning |
|---|---|
| `rejected` | messages that were not of the contract, since the process started |
| `other_runs` | messages of other runs, ignored, since the process started |
| `skipped` | instants skipped because the process was late by more than a period, since it started [1] |
| `turn_s` | the longest turn since the metric before, in machine seconds |
| `lag_s` | the longest time from telemetry's `ts` to its arrival since the metric before [s]; if it receives any |
| `inputs_refused`, `inputs_dropped` | values of its sources that were not valid, or were not taken in time |
| `kept`, `thinned`, `sent_again` | messages on no receipt yet; those given up, and those sent again, since it started |
| `stored`, `missing`, `dead_letters` | of the recorder: as in its receipt |
| `disk_free_mib`, `disk_low_mib` | of the recorder: free where it writes, and below which its alarm `disk_low` comes |

[1] Harmless in the recorder, whose commits come on messages, too.

A service that is stopped, stuck or starved keeps its connection, and its last will says nothing. So its metric is its
heartbeat: when nothing comes for three `heartbeat_s`, or it has been `offline` or `fault` for that long, the alarm
`service_silent` names it, until it is heard again. The EMS watches recorder, clock, forecast and tariff; the recorder
watches EMS and clock (`schemas/presence.py`). An EMS of your own that promises no `heartbeat_s` counts by its state
only. The clock sends `rejected` alone. In lock-step there are neither metrics nor this alarm.

With every plan, from the EMS:

| name | meaning |
|---|---|
| `solve_s` | time that the solver took, in machine seconds; absent if nothing was solved |
| `plan_age_s` | how long before this plan's start the plan that it follows was solved; 0 for a new one |
""",
    Channel.REJECT: """A participant ignores messages that are not of the contract and messages of another run. A
set-point that a device has read and does not obey (an old `epoch`, a validity that has ended, a value outside its
nameplate) is answered by an `ack` with `accepted` false and the reason instead. A message that comes twice is neither.

A participant sends at most ten rejects a minute, and one a topic; `rejected` and `other_runs` of its metric count all.
No reject is answered by a reject. In lock-step there are none: the messages of such a run arise from ticks alone and
are the same to the last bit, while a stray message belongs to no cycle. In both time modes the recorder keeps messages
that are not of the contract as dead letters.
""",
}

HEAD = f"""<!-- Written by docs/topics.py; edit that. -->
# Topics and messages

    twin/v2/{{site}}/{{kind}}/{{device}}/{{channel}}

`site` is 1 to 32, `device` 1 to 31 of `a-z 0-9 -`; a device's name is unique in its site. Kinds:
{", ".join(f"`{kind}`" for kind in Kind)}.

A message is one flat JSON object of at most {MAX_PAYLOAD_BYTES // 1024} KiB, published with QoS 1. It carries

| field | meaning |
|---|---|
| `contract` | version of the contract, {CONTRACT} |
| `ts` | the time that it is about, with its zone |
| `run` | the run it belongs to; a device in wall time may leave it out |
| `boot` | the life of its sender; a new one begins with a new run or after a restart without a checkpoint |
| `seq` | counts from 1 per boot and topic, without gaps, in `tick` and `done` with gaps; a last will carries 0 |

(`boot`, topic, `seq`) is its identity: the same identity means the same bytes, however often it arrives. Power is in
kW, positive when drawn from the building's bus; only the PCC meter counts import as positive. Energies are in kWh, a
state of charge is a fraction, a time has a zone. Unknown fields are tolerated, except in `run`, `limit`, `request`,
`event`, `setpoint`, `tick` and `done`, where they might change the meaning. A message that is not of the contract
becomes a dead letter of the recorder and stops nobody. `twinswarm schema DIR` writes the JSON Schema of each message,
in which every field is explained.

| channel | retained | written by | may be written by |
|---|---|---|---|
"""

CLAUSES = """
## Clauses

The promises of a device in wall time that its peers can see. Identifiers stay. `twinswarm conform` judges a device by
them ([attach-a-device.md](attach-a-device.md#checking-a-device-of-your-own)).

| clause | promise |
|---|---|
"""


def page() -> str:
    """The text of docs/topics.md."""
    first = {topic.channel: topic for topic, _, _ in reversed(examples())}
    rows = [
        f"| [`{channel}`](#{channel}) | {'yes' if first[channel].retained else 'no'} | {WRITERS[channel]} "
        f"| {_allowed(channel)} |"
        for channel in Channel
    ]
    parts = [HEAD + "\n".join(rows) + "\n"]
    described: set[Channel] = set()
    for topic, stamp, body in examples():
        if topic.channel not in described:
            parts.append(f"\n## {topic.channel}\n")
        if topic.channel not in described or topic.channel is Channel.TELEMETRY:
            described.add(topic.channel)
            doc = (body_type(topic.kind, topic.channel).__doc__ or "").split("\n\n")[0]
            about = " ".join(doc.split()).replace("``", "`")
            parts.append(f"\n{about}\n" if about else "")
            parts.append(f"\n{NOTES[topic.channel]}" if topic.channel in NOTES else "")
        parts.append(f"\n`{topic}`\n\n```json\n{_json(json.loads(encode(stamp, body)))}\n```\n")
    rows = [f"| {clause} | {clause.text} |" for clause in Clause]
    parts.append(CLAUSES + "\n".join(rows) + "\n")
    return "".join(parts)


def _allowed(channel: Channel) -> str:
    """The kinds that have the right to."""
    kinds = [kind for kind in Kind if any(right.channel is channel for right in WRITES[kind])]
    others = [f"`{kind}`" for kind in Kind if kind not in kinds]
    if len(others) < 2:
        return " but ".join(["all", *others])
    return ", ".join(f"`{kind}`" for kind in kinds)


def _json(value: Any) -> str:
    """Indented, but lists of plain values, such as the steps of a plan, on one line."""
    text = json.dumps(value, indent=2, ensure_ascii=False)
    return re.sub(r"\[\s+([^\[\]{}]*?)\s+\]", lambda found: "[" + " ".join(found[1].split()) + "]", text)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
