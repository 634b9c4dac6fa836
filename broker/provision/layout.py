"""Where provisioning keeps what. Imports nothing heavy: every process of the swarm reads its certificate from here.

ca.crt                  the authority's certificate; public
authority/              ca.key and provision.json: to be kept where no service can read it; lock, which is empty
clients/{name}.crt|key  one pair per device and service
secrets/{name}          passwords and tokens of the stack in containers, see `twinswarm.deploy.stack.secrets`
broker/                 all that Mosquitto needs: mosquitto.conf, acl, ca.crt, server.crt|key, crl.pem
"""

from dataclasses import dataclass
from pathlib import Path

from broker.address import Credentials


@dataclass(frozen=True, slots=True)
class Folder:
    """The folder that ``twinswarm provision --out`` writes."""

    root: Path

    @property
    def ca_certificate(self) -> Path:
        return self.root / "ca.crt"

    @property
    def ca_key(self) -> Path:
        return self.root / "authority" / "ca.key"

    @property
    def register(self) -> Path:
        return self.root / "authority" / "provision.json"

    @property
    def broker(self) -> Path:
        return self.root / "broker"

    def certificate(self, name: str) -> Path:
        return self.root / "clients" / f"{name}.crt"

    def key(self, name: str) -> Path:
        return self.root / "clients" / f"{name}.key"

    def secret(self, name: str) -> Path:
        return self.root / "secrets" / name

    def credentials(self, name: str) -> Credentials:
        """How ``name`` proves who it is. Raises InputError for what is missing or unreadable."""
        return Credentials(self.ca_certificate, self.certificate(name), self.key(name))
