"""Prints what the building draws from the grid, and what the EMS intends. Knows paho-mqtt and the contract's JSON.

python examples/consumer.py --host 127.0.0.1 --port 1883 --site fit-g2v
"""

import argparse
import json

import paho.mqtt.client as mqtt

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
for name, default in {"host": "127.0.0.1", "port": 1883, "site": "fit-g2v"}.items():
    parser.add_argument(f"--{name}", default=default, type=type(default))
given = parser.parse_args()
FEEDER, PLAN = f"twin/v1/{given.site}/feeder/+/telemetry", f"twin/v1/{given.site}/ems/+/plan"


def on_connect(client, *_):
    client.subscribe([(FEEDER, 1), (PLAN, 1)])  # the plan is retained: the last one comes at once


def on_message(_client, _userdata, incoming):
    message = json.loads(incoming.payload)
    if mqtt.topic_matches_sub(FEEDER, incoming.topic):
        print(f"{message['ts']}  PCC {message['power_kw']:8.2f} kW  losses {message['losses_kw']:5.2f} kW", flush=True)
    else:
        powers = "  ".join(f"{name} {plan['power_kw'][0]:.2f}" for name, plan in sorted(message["devices"].items()))
        eur = message["objective_eur"]
        print(f"{message['ts']}  plan {message['status']}, {eur:.2f} € to go; now kW: {powers}", flush=True)


client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv311)
client.on_connect, client.on_message = on_connect, on_message
client.connect(given.host, given.port)
client.loop_forever()
