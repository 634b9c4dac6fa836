"""A program behind the exchange of docs/own-ems.md, and what it may do wrong: its first argument says what."""

import json
import os
import sys
import time

how = sys.argv[1] if len(sys.argv) > 1 else "even"
for number, line in enumerate(sys.stdin):
    problem = json.loads(line)
    stores = [*problem["bess"], *problem["chargers"]]
    answer = {unit["device"]: -unit["max_discharge_kw"] for unit in stores}
    if how == "dies":
        print("Traceback (most recent call last):\nKeyError: 'tank'", file=sys.stderr)
        sys.exit(3)
    if how == "sleeps":
        time.sleep(60)
    if how == "closes":
        os.close(1)
        time.sleep(60)
    if how == "falls asleep" and number == 3:
        time.sleep(60)
    texts = {
        "nonsense": "Running the solver …",
        "a list": "[1, 2]",
        "not finite": json.dumps(dict.fromkeys(answer, float("nan"))),
        "a stranger": '{"tank": 1.0}',
        "endless": "0" * 3_000_000,
    }
    print(texts.get(how) or json.dumps(answer), flush=True)
