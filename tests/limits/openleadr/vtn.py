"""openleadr-vtn on a PostgreSQL of its own, and the hand of the utility that makes programs and events there."""

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "twinswarm-peers"
PEER = "openleadr-vtn-0.2.8"
UTILITY, SITE = ("utility", "its-secret"), ("site", "another-secret")
"""OAuth clients and their secrets."""
_SCOPES = {
    "utility": "read_all,write_programs,write_events,write_vens_bl,write_reports_bl,write_subscriptions_bl,write_users",
    "site": "read_targets,read_ven_objects,write_reports_ven,write_subscriptions_ven,write_vens_ven",
}


def program() -> Path | None:
    """The server; None: it was not built. TWINSWARM_OPENLEADR_VTN names another place."""
    named = os.environ.get("TWINSWARM_OPENLEADR_VTN")
    found = Path(named) if named else CACHE / PEER / "bin" / "openleadr-vtn"
    return found if found.is_file() else None


def postgres() -> Path | None:
    """The installation of PostgreSQL 16; None: it is not there."""
    there = CACHE / "pgserver-0.1.4"
    return there if there.is_dir() else None


def _free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port: int = listening.getsockname()[1]
        return port


class Vtn:
    """The server, which may be stopped and started again on its port."""

    def __init__(self, database: str, folder: Path) -> None:
        self.port = _free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._database, self._log = database, folder / "vtn.log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        found = program()
        assert found is not None
        environment = {
            **os.environ,
            "DATABASE_URL": self._database,
            "PORT": str(self.port),
            "OAUTH_TOKEN_URL": f"{self.url}/auth/token",
            "RUST_LOG": "warn",
        }
        with self._log.open("ab") as log:
            self._process = subprocess.Popen([str(found)], env=environment, stdout=log, stderr=log)
        deadline = time.monotonic() + 60
        while not self._answers():
            assert self._process.poll() is None, self._log.read_text()
            assert time.monotonic() < deadline, self._log.read_text()
            time.sleep(0.1)

    def _answers(self) -> bool:
        try:
            return httpx.get(f"{self.url}/health", timeout=2) is not None
        except httpx.HTTPError:
            return False

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(20)
            self._process = None

    def call(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """As the utility."""
        grant = {"grant_type": "client_credentials", "client_id": UTILITY[0], "client_secret": UTILITY[1]}
        token = httpx.post(f"{self.url}/auth/token", data=grant).raise_for_status().json()["access_token"]
        bearer = {"Authorization": f"Bearer {token}"}
        answer = httpx.request(method, f"{self.url}{path}", json=body, headers=bearer)
        assert answer.is_success, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json()

    def program(self, name: str, **more: Any) -> str:
        made: str = self.call("POST", "/programs", {"objectType": "PROGRAM", "programName": name, **more})["id"]
        return made

    def event(self, program_id: str, name: str, **more: Any) -> dict[str, Any]:
        body = {"objectType": "EVENT", "programID": program_id, "eventName": name, **more}
        made: dict[str, Any] = self.call("POST", "/events", body)
        return made


@contextmanager
def serving() -> Iterator[Vtn]:
    """Skips the test where the server or PostgreSQL is missing."""
    installed = postgres()
    if program() is None or installed is None:
        pytest.skip("openleadr-vtn (tests/limits/openleadr/install) or PostgreSQL is not on this machine")
    # PostgreSQL refuses root, and its socket's path has to be short.
    folder = Path(tempfile.mkdtemp(prefix="vtn", dir="/tmp"))
    user = "postgres" if os.geteuid() == 0 else None
    shutil.copytree(installed, folder / "postgres")  # the cache may be readable for its owner alone
    programs = folder / "postgres" / "pgserver" / "pginstall" / "bin"
    if user is not None:
        shutil.chown(folder, user)
    port, data = _free_port(), folder / "data"

    def run(*words: str) -> None:
        done = subprocess.run(words, user=user, cwd=folder, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, f"{words[0]}: {done.stderr}"

    control = [str(programs / "pg_ctl"), "-D", str(data), "-l", str(folder / "postgres.log"), "-w"]
    run(str(programs / "initdb"), "-D", str(data), "-U", "vtn", "-A", "trust", "--no-sync")
    options = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1 -c fsync=off"
    run(*control, "-o", options, "start")
    database = f"postgres://vtn@127.0.0.1:{port}/postgres"
    vtn = Vtn(database, folder)
    try:
        vtn.start()
        _add_clients(programs, database)
        yield vtn
    finally:
        vtn.stop()
        run(*control, "-m", "immediate", "stop")
        shutil.rmtree(folder, ignore_errors=True)


def _add_clients(programs: Path, database: str) -> None:
    """The first accounts come by SQL: the server lets only an account add accounts."""
    from argon2 import PasswordHasher

    statements = []
    for name, secret in (UTILITY, SITE):
        hashed = PasswordHasher(time_cost=2, memory_cost=64, parallelism=1).hash(secret)
        statements += [
            'INSERT INTO "user" (id, reference, scopes, created, modified) '
            f"VALUES ('{name}', '{name}', '{{{_SCOPES[name]}}}', now(), now())",
            f"INSERT INTO user_credentials (user_id, client_id, client_secret) VALUES ('{name}', '{name}', '{hashed}')",
        ]
    subprocess.run([str(programs / "psql"), "-q", database, "-c", "; ".join(statements)], check=True, timeout=60)
