"""The help texts read like documentation."""

import re

import pytest

from sites.loader import builtin_sites
from twinswarm.cli import main
from twinswarm.cli.documentation import help_text

AT_A_BROKER = ["up", "devices", "doctor", "twin", "network", "ems", "forecast", "tariff", "recorder", "clock"]
COMMANDS = [
    *AT_A_BROKER,
    "run",
    "plan",
    "check",
    "init",
    "schema",
    "report",
    "export",
    "forward",
    "init-history",
    "downsample",
]


def _help(capsys: pytest.CaptureFixture[str], *command: str) -> str:
    with pytest.raises(SystemExit) as end:
        main([*command, "--help"])
    assert end.value.code == 0
    return capsys.readouterr().out


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "120")


def test_all_commands_are_listed_in_groups(capsys: pytest.CaptureFixture[str]) -> None:
    text = _help(capsys)
    for command in COMMANDS:
        assert f"│ {command} " in text
    for group in ("Run a day", "Look at a site", "Look at what was recorded", "The services alone"):
        assert f"─ {group} ─" in text
    assert "Exit codes: 0 done, 1 the run failed, 2 the input is wrong" in text


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_shows_examples_of_itself(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    text = _help(capsys, command)
    assert f"twinswarm {command}" in text.split("Examples", 1)[1]


@pytest.mark.parametrize("command", AT_A_BROKER)
def test_whoever_meets_a_broker_takes_all_credentials(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    text = _help(capsys, command)
    for option in ("--broker", "--cafile", "--cert", "--key", "--username", "--password-file"):
        assert f"│ {option} " in text


@pytest.mark.parametrize("command", ["up", "run", "report", "plan", "devices", "check"])
def test_results_are_offered_as_json(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert "--json" in _help(capsys, command)


def test_defaults_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    text = _help(capsys, "up")
    for default in ("fit_g2v", "both", "smart", "lockstep", "embedded", "sqlite:runs/history.sqlite", "(runs/RUN)"):
        assert f"[default: {default}]" in text


def test_the_sites_in_the_box_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    words = set(re.findall(r"\w+", _help(capsys, "up")))
    assert set(builtin_sites()) <= words


def test_a_docstring_becomes_flowing_text_with_aligned_examples() -> None:
    told = help_text(
        """Do **this**.

        A paragraph that
        goes on, see `that`.

        Examples:
            do it  at once
            do it --now
        """
    )
    assert told == (
        "Do [b]this[/b].\n\nA paragraph that goes on, see [cyan]that[/cyan].\n\n"
        "[b]Examples[/b]\n  [cyan]do it[/cyan]  at once\n  [cyan]do it --now[/cyan]"
    )
