"""The log of a process: text or JSON, chosen by an environment variable."""

import json
import logging
import socketserver
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.cli.calling import COMMAND, plain_environment
from twinswarm.deploy.logs import FORMAT_VARIABLE, JsonLines

NOBODY = "mqtt://127.0.0.1:9"


class _HangUp(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        """Closes the connection at once."""


def _twin(folder: Path, log_format: str) -> subprocess.CompletedProcess[str]:
    """A twin whose broker closes every connection at once."""
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), _HangUp) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        done = subprocess.run(
            [*COMMAND, "twin", "ev1", "--broker", f"mqtt://127.0.0.1:{server.server_address[1]}"],
            cwd=folder,
            env=plain_environment() | {FORMAT_VARIABLE: log_format},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        server.shutdown()
    return done


def test_every_line_is_json_up_to_the_error_that_ends_a_service(tmp_path: Path) -> None:
    done = _twin(tmp_path, "json")
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert done.returncode == 1
    assert (lines[0]["level"], lines[-1]["level"]) == ("info", "error")
    assert "closed the connection at once" in lines[-1]["message"]
    assert all(set(line) >= {"time", "level", "device", "run", "logger", "message"} for line in lines)


def test_text_is_the_default_and_another_format_is_wrong_input(tmp_path: Path) -> None:
    text = _twin(tmp_path, "")
    assert text.returncode == 1
    assert "INFO twinswarm: ev1 of site fit-g2v" in text.stderr
    wrong = _twin(tmp_path, "xml")
    assert wrong.returncode == 2
    assert f"error: {FORMAT_VARIABLE}: text or json is allowed (received 'xml')" in wrong.stderr


def test_a_process_of_up_says_it_in_the_same_way(tmp_path: Path) -> None:
    (tmp_path / "site.json").write_text("{}", encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "twinswarm.deploy.process", "ev1", "--site", "site.json", "--broker", NOBODY],
        cwd=tmp_path,
        env=plain_environment() | {FORMAT_VARIABLE: "xml"},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 2
    assert FORMAT_VARIABLE in done.stderr
    assert "Traceback" not in done.stderr


def test_a_traceback_is_one_line() -> None:
    try:
        int("line\nbreak")
    except ValueError:
        record = logging.LogRecord("x", logging.ERROR, __file__, 1, "it %s", ("failed",), sys.exc_info())
    line = JsonLines().format(record)
    assert "\n" not in line
    assert json.loads(line)["message"] == "it failed"
    assert json.loads(line)["exception"].startswith("Traceback")


@pytest.mark.parametrize("text", ["°C", "\ud800", '"'])
def test_any_text_is_a_line(text: str) -> None:
    line = JsonLines().format(logging.LogRecord("x", logging.INFO, __file__, 1, "%s", (text,), None))
    assert json.loads(line.encode("utf-8", errors="surrogatepass"))["message"] == text
