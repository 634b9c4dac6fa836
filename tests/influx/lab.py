"""A real InfluxDB 2 server for tests, and a reverse proxy with limits before it."""

import http.client
import json
import os
import secrets
import shutil
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from services.influx.server import InfluxServer
from tests.parts import skip_without

INFLUXD = "TWINSWARM_INFLUXD"
ORG = "lab"
TOKEN = secrets.token_hex(16)


def influxd() -> str:
    """The server's program: of the environment variable, or on the PATH. Skips the test when there is none."""
    found = os.environ.get(INFLUXD) or shutil.which("influxd")
    skip_without(f"influxd ({INFLUXD} or on the PATH)", present=found is not None and Path(found).is_file())
    assert found is not None
    return found


class Influx:
    """One server with its data in ``folder``. Stopped and started again it keeps its address."""

    def __init__(self, folder: Path) -> None:
        self._program = influxd()
        self._folder = folder
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = int(free.getsockname()[1])
        self.url = f"http://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        data = [f"--{name}-path={self._folder / name}" for name in ("bolt", "engine", "sqlite")]
        address = f"--http-bind-address=127.0.0.1:{self.port}"
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [self._program, *data, address, "--reporting-disabled", "--log-level=error"], stdout=log, stderr=log
            )
        process = self._process
        patience = threading.Event()
        deadline = time.monotonic() + 60
        while not self._healthy():
            assert process.poll() is None, (self._folder / "log").read_text()
            assert time.monotonic() < deadline, "influxd does not become healthy"
            patience.wait(0.05)

    def set_up(self) -> None:
        order = {"username": "lab", "password": secrets.token_hex(12), "org": ORG, "bucket": "first", "token": TOKEN}
        body = json.dumps(order).encode()
        with urllib.request.urlopen(urllib.request.Request(f"{self.url}/api/v2/setup", body, method="POST")):
            pass

    def ask(self, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """The server's HTTP interface itself: a GET, or with a body a POST."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.url}{path}", data, {"Authorization": f"Token {TOKEN}"})
        with urllib.request.urlopen(request) as answer:
            found: dict[str, Any] = json.load(answer)
        return found

    def kill(self) -> None:
        """SIGKILL."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()

    def server(self, token: str = TOKEN, timeout_s: float = 30.0) -> InfluxServer:
        return InfluxServer(self.url, ORG, token, timeout_s)

    def _healthy(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/health", timeout=5):
                return True
        except (urllib.error.URLError, OSError):
            return False


Answer = tuple[int, dict[str, str]]


class Proxy:
    """Passes requests on to a server unless ``judge`` (of method, path and body) has an answer of its own."""

    def __init__(self, behind: str, judge: Callable[[str, str, bytes], Answer | None]) -> None:
        self.asked = 0
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                proxy.asked += 1
                answer = judge(self.command, self.path, body)
                if answer is not None:
                    self._answer(answer[0], answer[1], b"the proxy's answer")
                    return
                behind_it = http.client.HTTPConnection(behind.removeprefix("http://"))
                behind_it.request(self.command, self.path, body, dict(self.headers))
                told = behind_it.getresponse()
                self._answer(told.status, {}, told.read())
                behind_it.close()

            def _answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
                try:
                    self.send_response(status)
                    for name, value in headers.items():
                        self.send_header(name, value)
                    self.send_header("Content-Length", str(len(body)))
                    self.end_headers()
                    self.wfile.write(body)
                except BrokenPipeError:
                    self.close_connection = True  # the client had no patience left

            def log_message(self, *_: object) -> None:
                """Not on the tests' output."""

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._http.server_port}"
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()
