"""A server on loopback that answers as a VTN, and as badly as a test wants."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from typing import Any

from tests.loopback import http_server

SECRET = "the-secret"


class BadVtn:
    """Has events and programs; what ``worse`` holds is answered before them, once each."""

    def __init__(self) -> None:
        self.programs: list[dict[str, Any]] = [{"id": "p1", "objectType": "PROGRAM", "programName": "limits"}]
        self.events: list[dict[str, Any]] = []
        self.worse: list[tuple[int, str, dict[str, str]]] = []
        """Status, body, headers."""
        self.asked: list[str] = []
        self.tokens = 0
        self.url = ""
        self.gone = False

    def answer(self, method: str, path: str, body: str, bearer: str) -> tuple[int, str, dict[str, str]]:
        self.asked.append(f"{method} {path}")
        place, _, query = path.partition("?")
        if place == "/api/auth/server":
            return 200, json.dumps({"tokenURL": f"{self.url}/auth/token"}), {}
        if place == "/api/auth/token":
            if f"client_secret={SECRET}" not in body:
                return 401, '{"title": "no"}', {}
            self.tokens += 1
            return 200, json.dumps({"access_token": f"token{self.tokens}", "expires_in": 1}), {}
        if bearer != f"Bearer token{self.tokens}":
            return 401, '{"title": "expired"}', {}
        if self.worse and place == "/api/events":
            return self.worse.pop(0)
        there = {"/api/events": self.events, "/api/programs": self.programs}.get(place)
        if there is None:
            return (201, "{}", {}) if method == "POST" else (404, "{}", {})
        skip = int(dict(part.split("=") for part in query.split("&")).get("skip", 0))
        return 200, json.dumps(there[skip : skip + 50]), {}


@contextmanager
def serving() -> Iterator[BadVtn]:
    vtn = BadVtn()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _answer(self) -> None:
            if vtn.gone:  # connections that stand outlive the server that listened
                self.close_connection = True
                return
            body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
            status, text, headers = vtn.answer(self.command, self.path, body, self.headers.get("Authorization", ""))
            data = text.encode()
            self.send_response(status)
            for name, value in {"Content-Type": "application/json", **headers}.items():
                self.send_header(name, value)
            if "Content-Length" not in headers:
                self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)
            self.close_connection = "Content-Length" in headers

        do_GET = do_POST = _answer  # noqa: N815 (names of the library)

        def log_message(self, *_: object) -> None:
            """Quiet."""

    with http_server(Handler) as url:
        vtn.url = f"{url}/api"
        try:
            yield vtn
        finally:
            vtn.gone = True
