from typing import Any, Self
import asyncio
from amqtt.broker import Broker
class LoopbackBroker(Broker):
    @classmethod
    def on(cls, host: str, port: int) -> Self:
        return cls({"listeners": {"default": {"type": "tcp", "bind": f"{host}:{port}", "max_connections": 0}},
          "plugins": {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}}})
    @property
    def port(self) -> int:
        return self._servers["default"].instance.sockets[0].getsockname()[1]
