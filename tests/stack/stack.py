"""A stack of real containers, by compose.yaml, under a project name, volumes and ports of its own."""

import json
import os
import secrets
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

ROOT = Path(__file__).parents[2]
IMAGE = "TWINSWARM_IMAGE"
"""Environment variable: an image of this checkout."""
PATIENCE_S = 120.0
LOOK_S = 0.25
NO_GRAFANA = ("--scale", "grafana=0", "--pull", "never")
"""There is no image of Grafana where these tests run, and Compose would fetch it even for no container."""

Seen = TypeVar("Seen")


def until(look: Callable[[], Seen | None], what: str, patience_s: float = PATIENCE_S) -> Seen:
    """What ``look`` sees, once that is something."""
    deadline = time.monotonic() + patience_s
    while not (seen := look()):
        assert time.monotonic() < deadline, f"not within {patience_s:g} s: {what}"
        threading.Event().wait(LOOK_S)
    return seen


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
    return port


@dataclass
class Stack:
    """``file``: the site's. ``profile``: sim or live."""

    file: Path = ROOT / "compose.yaml"
    profile: str = "sim"
    project: str = field(default_factory=lambda: f"test-{secrets.token_hex(3)}")
    port: int = field(default_factory=_free_port)

    def compose(
        self, *words: str, check: bool = True, changed: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[bytes]:
        """``changed``: variables that are other for this call. ``check``: fails with what compose said."""
        command = ["docker", "compose", "--file", str(self.file), "--project-name", self.project, *words]
        variables = {"TWINSWARM_MQTT_PORT": str(self.port), "COMPOSE_PROFILES": self.profile, **(changed or {})}
        done = subprocess.run(
            command, env={**os.environ, **variables}, stdin=subprocess.DEVNULL, capture_output=True, check=False
        )
        if check:
            assert done.returncode == 0, f"{' '.join(words)}: {done.stderr.decode()[-4000:]}"
        return done

    def up(self, **changed: str) -> None:
        """Up to healthy; of a stack that is up, what differs. ``changed``: variables that are other than before."""
        self.compose("up", "--detach", "--wait", *NO_GRAFANA, changed=changed)

    def provision(self, *words: str) -> bytes:
        """What it says on standard output."""
        return self.compose("run", "--rm", "--no-TTY", "provision", *words).stdout

    def once(self, service: str, *words: str) -> str:
        """A command in a container of its own, with the volumes, network and rights of a service."""
        return self.compose("run", "--rm", "--no-TTY", "--no-deps", service, *words).stdout.decode()

    def inside(self, service: str, *words: str) -> str:
        """A command in the service's running container."""
        return self.compose("exec", "--no-TTY", service, *words).stdout.decode()

    def containers(self) -> dict[str, dict[str, Any]]:
        """By service what the engine tells of each container."""
        listed = self.compose("ps", "--all", "--quiet").stdout.split()
        told = docker("inspect", *(identifier.decode() for identifier in listed)) if listed else b"[]"
        return {one["Config"]["Labels"]["com.docker.compose.service"]: one for one in json.loads(told)}

    def kill_hard(self, service: str) -> None:
        """SIGKILL to what runs in its container; the container ends with that, and the engine starts it anew.

        `docker kill` would not do: the engine takes that for the operator's wish.
        """
        before = self.containers()[service]["RestartCount"]
        self.compose("exec", "--no-TTY", service, "sh", "-c", "kill -9 -1", check=False)
        until(lambda: self.containers()[service]["RestartCount"] > before, f"{service} is started anew")

    def down(self) -> None:
        self.compose("--profile", "*", "down", "--volumes", "--timeout", "5")


def docker(*words: str) -> bytes:
    return subprocess.run(["docker", *words], stdin=subprocess.DEVNULL, capture_output=True, check=True).stdout


def has_compose() -> bool:
    return _succeeds("compose", "version")


def what_is_missing() -> str | None:
    """Of what these tests need; None: nothing."""
    if not (has_compose() and _succeeds("info")):
        return "a Docker engine with Compose"
    image = os.environ.get(IMAGE)
    if image is None:
        return f"an image of this checkout ({IMAGE})"
    needed = (image, *_images())
    return next((f"the image {name}" for name in needed if not _succeeds("image", "inspect", name)), None)


def _succeeds(*words: str) -> bool:
    try:
        docker(*words)
    except (OSError, subprocess.CalledProcessError):
        return False
    return True


def _images() -> list[str]:
    """Of others' programs, save Grafana's."""
    lines = (ROOT / "compose.yaml").read_text(encoding="utf-8").splitlines()
    named = [line.split()[1] for line in lines if line.startswith("    image: ")]
    return [name for name in named if not name.startswith("grafana/")]
