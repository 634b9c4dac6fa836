"""Wrong input ends in exit code 2 and a message that names the option, the value, and what is allowed."""

from pathlib import Path

import pytest

from tests.cli.calling import call
from twinswarm.cli import main

NOBODY = "mqtt://127.0.0.1:1"

WRONG: dict[str, tuple[list[str], list[str]]] = {
    "case": (["run", "--case", "9"], ["--case", "'9'", "1, 2, 3, 4, 5, 6"]),
    "case of a site without": (["run", "--site", "carpark", "--case", "1"], ["--case", "'1'", "none"]),
    "storage": (["run", "--storage", "all"], ["--storage", "'all'", "v2g"]),
    "reference": (["up", "--reference", "dumb"], ["--reference", "'dumb'", "uncontrolled"]),
    "date": (["run", "--date", "2024-13-01"], ["--date", "'2024-13-01'", "2024-05-17"]),
    "duration": (["run", "--for", "10x"], ["--for", "'10x'", "24h"]),
    "part of a step": (["run", "--for", "10min"], ["--for", "'10min'", "900 s"]),
    "speed": (["up", "--speed", "fast"], ["--speed", "'fast'", "lockstep"]),
    "no speed": (["clock", "--speed", "0"], ["--speed", "'0'", "above 0"]),
    "no number": (["up", "--speed", "nan"], ["--speed", "'nan'"]),
    "beginning": (["up", "--from", "10"], ["--from", "'10'", "10:15"]),
    "beginning within a step": (["run", "--from", "10:07"], ["--from", "'10:07'", "900 s"]),
    "beginning at two times": (["up", "--now", "--speed", "1", "--from", "10:00"], ["--from", "--now", "'10:00'"]),
    "now without a clock": (["up", "--now"], ["--speed", "'lockstep'", "--now"]),
    "port of a broker that runs": (["up", "--port", "1883", "--broker", NOBODY], ["--port", "1883"]),
    "no port": (["up", "--port", "0"], ["--port: 1 to 65535", "received 0"]),
    "broker": (["up", "--broker", "http://x"], ["--broker", "'http://x'", "mqtts://host:port"]),
    "password in the broker": (["up", "--broker", "mqtt://u:secret@x"], ["--broker", "--password-file"]),
    "local broker of a service": (["twin", "ev1", "--broker", "embedded"], ["--broker", "'embedded'"]),
    "certificates": (["devices", "--key", "nofile"], ["--key", "'nofile'", "--cert"]),
    "unencrypted certificates": (["ems", "--cafile", __file__], ["--cafile", "mqtts://"]),
    "attached stranger": (["up", "--attach", "ev9", "--broker", NOBODY], ["--attach", "'ev9'", "ev4"]),
    "history": (["run", "--history", "file.db"], ["--history", "'file.db'", "sqlite:PATH"]),
    "history of a recorder": (["recorder", "--history", "file.db"], ["--history", "'file.db'", "sqlite:PATH"]),
    "history that is none": (["run", "--history", f"sqlite:{__file__}"], [__file__]),
    "site": (["run", "--site", "nowhere"], ["nowhere", "fit_g2v"]),
    "json into nothing": (["run", "--json", "nowhere/x.json"], ["--json", "'nowhere/x.json'"]),
    "json into a folder": (["plan", "--json", "."], ["--json", "'.'", "standard output"]),
    "report into a file": (["run", "--report", __file__], ["--report", __file__]),
    "time": (["plan", "--at", "25:00"], ["--at", "'25:00'", "10:15"]),
    "time within a step": (["plan", "--at", "10:07"], ["--at", "'10:07'", "900 s"]),
    "time that is left out": (["plan", "--at", "02:30", "--date", "2024-03-31"], ["--at", "'02:30'", "Europe/Rome"]),
    "device": (["twin", "ev9"], ["DEVICE", "'ev9'", "ev1, ev2"]),
    "no device": (["twin"], ["DEVICE"]),
    "wait": (["devices", "--wait", "0"], ["--wait", "0.1"]),
    "format": (["export", "--format", "xls"], ["--format", "'xls'", "parquet"]),
    "no history": (["report"], ["runs/history.sqlite"]),
    "no history to export": (["export", "--history", "sqlite:none.sqlite"], ["none.sqlite"]),
    "file to check": (["check", "nowhere.yaml"], ["nowhere.yaml", "fit_g2v"]),
    "nothing to check": (["check"], ["FILE"]),
    "folder for a site": (["init", "/proc/site"], ["/proc/site"]),
    "folder for schemas": (["schema", "/proc/schemas"], ["/proc/schemas"]),
    "command": (["fly"], ["fly"]),
    "option": (["run", "--fly"], ["--fly"]),
}


@pytest.mark.parametrize(("arguments", "named"), WRONG.values(), ids=WRONG)
def test_wrong_input_is_told(
    arguments: list[str],
    named: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    with pytest.raises(SystemExit) as end:
        main(arguments)
    told = capsys.readouterr()
    assert end.value.code == 2
    for part in named:
        assert part in told.err
    assert "secret" not in told.err
    assert "\x1b" not in told.err + told.out


def test_credentials_are_refused_all_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["devices", "--broker", "tcp://x", "--key", "nofile", "--password-file", "nofile"])
    assert end.value.code == 2
    told = capsys.readouterr().err.splitlines()
    assert told[0] == f"error: {len(told) - 1} faults"
    assert [line.split(":")[0].strip() for line in told[1:]] == [
        "--broker", "--key", "--password-file", "--key", "--password-file",
    ]  # fmt: skip


@pytest.mark.parametrize("arguments", [["devices"], ["up", "--for", "1h"]], ids=lambda a: a[0])
def test_a_broker_that_is_not_there_is_no_wrong_input(arguments: list[str], tmp_path: Path) -> None:
    done = call(*arguments, "--broker", NOBODY, cwd=tmp_path)
    assert done.returncode == 1
    assert NOBODY in done.stderr
    assert "Traceback" not in done.stderr
