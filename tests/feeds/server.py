"""A local HTTP server that gives the answers a test wants, as the public services form them."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler

from tests.loopback import http_server


@dataclass
class Answer:
    body: str
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    cut_after: int | None = None
    """Closes the connection after so many bytes of what it announced."""


@dataclass
class Asked:
    path: str
    headers: dict[str, str]
    body: str


class Service:
    """Gives its answers in turn, the last one for ever, and notes what it was asked."""

    def __init__(self, *answers: Answer) -> None:
        self.answers = list(answers)
        self.asked: list[Asked] = []
        self.url = ""

    def next(self, asked: Asked) -> Answer:
        self.asked.append(asked)
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


@contextmanager
def serving(*answers: Answer) -> Iterator[Service]:
    service = Service(*answers)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _answer(self) -> None:
            length = int(self.headers.get("Content-Length", 0))
            asked = Asked(self.path, dict(self.headers), self.rfile.read(length).decode())
            answer = service.next(asked)
            body = answer.body.encode()
            self.send_response(answer.status)
            for name, value in {"Content-Type": "application/json", **answer.headers}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if answer.cut_after is not None:
                body, self.close_connection = body[: answer.cut_after], True
            self.wfile.write(body)

        do_GET = do_POST = _answer  # noqa: N815 (names of the library)

        def log_message(self, *_: object) -> None:
            """Quiet."""

    with http_server(Handler) as url:
        service.url = f"{url}/api"
        yield service
