"""A real Home Assistant with its MQTT integration on a broker, driven by its REST interface."""

import base64
import hashlib
import hmac
import json
import os
import socket
import subprocess
import time
import urllib.error
import urllib.request
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from broker.address import BrokerAddress
from tests.faults.live import PATIENCE_S

VERSION = "2025.1.4"
"""As in `install`."""
_KEY = "k" * 64


def program() -> Path | None:
    """What `install` made; None: it is not there."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    found = cache / "twinswarm-peers" / f"homeassistant-{VERSION}" / "bin" / "hass"
    return found if found.is_file() else None


class HomeAssistant:
    """Listens on a free port of the loopback interface. Its owner's token and its MQTT broker are in its folder."""

    def __init__(self, binary: Path, folder: Path, broker: BrokerAddress) -> None:
        self._binary, self._folder = binary, folder
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = probe.getsockname()[1]
        storage = folder / ".storage"
        storage.mkdir(parents=True)
        place = "name: lab\n  latitude: 45.0\n  longitude: 7.6\n  elevation: 0\n  unit_system: metric\n  time_zone: UTC"
        (folder / "configuration.yaml").write_text(
            f"homeassistant:\n  {place}\n  country: IT\n  currency: EUR\n"
            f"http:\n  server_host: 127.0.0.1\n  server_port: {self._port}\napi:\n"
        )
        for name, version, data in (
            ("auth", (1, 1), _auth()),
            ("core.config_entries", (1, 4), {"entries": [_mqtt(broker)]}),
            ("onboarding", (4, 1), {"done": ["user", "core_config", "analytics", "integration"]}),
        ):
            stored = {"version": version[0], "minor_version": version[1], "key": name, "data": data}
            (storage / name).write_text(json.dumps(stored))
        with (folder / "log").open("wb") as log:
            # Without --skip-pip it would install on its own what it thinks it needs.
            command = [str(binary), "-c", str(folder), "--skip-pip"]
            self.process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)

    def _ask(self, path: str, body: object = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        headers = {"Authorization": f"Bearer {_token()}", "Content-Type": "application/json"}
        request = urllib.request.Request(f"http://127.0.0.1:{self._port}/api/{path}", data, headers)
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.loads(answer.read())

    def states(self) -> dict[str, dict[str, Any]]:
        """State and attributes by entity; none while it starts."""
        assert self.process.poll() is None, (self._folder / "log").read_text()
        try:
            return {each["entity_id"]: each for each in self._ask("states")}
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            return {}

    def until(self, entity: str, *states: str) -> dict[str, Any]:
        """The entity as soon as it is in one of the states, or in any that is known."""
        deadline = time.monotonic() + PATIENCE_S
        found: dict[str, Any] = {}
        while time.monotonic() < deadline:
            found = self.states().get(entity, {})
            if found.get("state") in states or (not states and found.get("state") not in (None, "unavailable")):
                return found
            time.sleep(0.3)
        raise AssertionError(f"{entity} is {found}, not {states}; {(self._folder / 'log').read_text()[-2000:]}")

    def call(self, domain: str, service: str, entity: str, **data: Any) -> None:
        """Calls a service, as a person does by the button."""
        self._ask(f"services/{domain}/{service}", {"entity_id": entity, **data})

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(30)


def _mqtt(broker: BrokerAddress) -> dict[str, Any]:
    when = "2024-12-01T00:00:00+00:00"
    return {
        "entry_id": "mqtt1",
        "domain": "mqtt",
        "title": "lab",
        "version": 1,
        "minor_version": 2,
        "source": "user",
        "data": {"broker": broker.host, "port": broker.port, "discovery": True, "discovery_prefix": "homeassistant"},
        "options": {},
        "unique_id": None,
        "disabled_by": None,
        "pref_disable_new_entities": False,
        "pref_disable_polling": False,
        "created_at": when,
        "modified_at": when,
        "discovery_keys": {},
    }


def _auth() -> dict[str, Any]:
    user = {"id": "u1", "group_ids": ["system-admin"], "is_owner": True, "is_active": True, "name": "lab"}
    token = {
        "id": "r1",
        "user_id": "u1",
        "client_id": None,
        "client_name": "lab",
        "client_icon": None,
        "token_type": "long_lived_access_token",
        "created_at": datetime.now(UTC).isoformat(),
        "access_token_expiration": 315360000.0,
        "token": "t" * 128,
        "jwt_key": _KEY,
        "last_used_at": None,
        "last_used_ip": None,
        "expire_at": None,
        "credential_id": None,
        "version": VERSION,
    }
    return {
        "users": [{**user, "system_generated": False, "local_only": False}],
        "groups": [{"id": "system-admin", "name": "Administrators"}],
        "credentials": [],
        "refresh_tokens": [token],
    }


def _token() -> str:
    """A JSON Web Token of that owner (RFC 7519)."""
    now = int(time.time())
    parts = [{"alg": "HS256", "typ": "JWT"}, {"iss": "r1", "iat": now, "exp": now + 86_400}]
    text = ".".join(_coded(json.dumps(part).encode()) for part in parts)
    return f"{text}.{_coded(hmac.new(_KEY.encode(), text.encode(), hashlib.sha256).digest())}"


def _coded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
