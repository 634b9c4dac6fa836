"""Makes and keeps a site's provisioning folder: what is there and right is left alone, what is not ours is refused."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from broker.provision import files
from broker.provision.acl import PROVISIONER, access_list
from broker.provision.authority import Authority
from broker.provision.identity import (
    BROKER_NAMES,
    Identity,
    broker_identity,
    certified_hosts,
    client_identity,
    ends_soon,
)
from broker.provision.layout import Folder
from broker.provision.lock import NAME as LOCK
from broker.provision.lock import locked
from broker.provision.mosquitto_conf import BrokerPlace, configuration
from broker.provision.register import Register, load_register
from schemas.errors import Code, Fault, InputError
from schemas.roles import HOME, HOME_ASSISTANT, OBSERVER
from schemas.site import GHOSTS, NETWORK, SERVICES, Site
from schemas.topics import Kind, client_id

_ACL, _CONFIGURATION = "broker/acl", "broker/mosquitto.conf"
_CANARY_LIFE = timedelta(hours=1)
_TO_BE_READ = "a running broker has to read it (SIGHUP while the recorder is connected, or a restart)"


@dataclass
class Changes:
    """Result of a command. ``written``: files, relative to the folder; ``notes``: what its user should know besides."""

    written: list[str] = field(default_factory=list)
    deleted: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def clients_of(site: Site) -> dict[str, Kind | None]:
    """Everybody who may connect at this site, and as what; None: an observer."""
    devices = {name: Kind(device.kind) for name, device in site.devices.items()}
    beside = dict.fromkeys(site.shadows, Kind.SHADOW) | ({GHOSTS: Kind.GHOSTS} if site.ghosts else {})
    limiters = dict.fromkeys(site.limits, Kind.LIMITER)
    persons = {} if site.ems.requests is None else {HOME_ASSISTANT: Kind.OPERATOR, HOME: None}
    return {**devices, NETWORK: Kind.NETWORK, **SERVICES, **beside, **limiters, **persons, OBSERVER: None}


def provision_site(site: Site, root: Path, place: BrokerPlace, now: datetime) -> Changes:
    """Authority, certificates, list of the revoked, access list and configuration of a site, as far as they lack.

    A device that was revoked stays so. Raises InputError: for a folder with files of somebody else, for files in it
    that were changed by hand, for names that are reserved.
    """
    with alone_in_new(root), _Workspace.opened(root, site.site, now).telling() as work:
        return _provision_site(work, site, place)


def _provision_site(work: "_Workspace", site: Site, place: BrokerPlace) -> Changes:
    wanted = clients_of(site)
    for name in wanted.keys() & {PROVISIONER}:
        raise InputError.one(
            f"site {site.site}", "no device may have this name: provisioning uses it", name, code=Code.RESERVED
        )
    barred = work.register.barred
    for name, kind in wanted.items():
        if name not in barred:
            work.admit(name, kind)
        else:
            work.changes.notes.append(f"{name} stays revoked; `provision add {name}` would give it a new certificate")
    for name in sorted(work.register.clients.keys() - wanted.keys()):
        work.changes.notes.append(
            f"{name} is not in the site's description and keeps its access; see `provision revoke`"
        )
    for name in work.register.clients:
        work.certify(name)
    work.certify_broker(place)
    work.write_text(_ACL, access_list(work.register.site, work.register.kinds))
    work.write_text(_CONFIGURATION, configuration(place))
    work.save()
    return work.changes


def add_client(root: Path, name: str, kind: Kind | None, now: datetime) -> Changes:
    """A certificate and the rights of ``kind`` (None: an observer) for one more, or again for one that was revoked.

    Nobody else's files change, save the access list. Raises InputError for a name that is taken or reserved.
    """
    with alone_in(root), _Workspace.existing(root, now).telling() as work:
        return _add_client(work, name, kind)


def _add_client(work: "_Workspace", name: str, kind: Kind | None) -> Changes:
    fixed: Mapping[str, Kind | None] = {**SERVICES, NETWORK: Kind.NETWORK, OBSERVER: None}
    if name == PROVISIONER or (name in fixed and fixed[name] is not kind):
        raise InputError.one("DEVICE", f"the name is reserved for the {name}", name, code=Code.RESERVED)
    if name in work.register.clients and work.register.kinds[name] is not kind:
        raise InputError.one(
            "DEVICE",
            f"there is a {work.register.clients[name]} of this name; revoke it first",
            name,
            code=Code.DUPLICATE,
        )
    work.admit(name, kind)
    work.certify(name)
    work.write_text(_ACL, access_list(work.register.site, work.register.kinds))
    work.save()
    return work.changes


@dataclass(frozen=True)
class Revoked:
    """``canary``: a certificate in the revoked name and on the same list: who refuses it has read the list."""

    changes: Changes
    canary: Identity


def revoke_client(root: Path, name: str, now: datetime) -> Revoked:
    """Puts all certificates of a name on the list of the revoked, takes its rights and its key file away.

    May be repeated. A broker that runs has to read both files anew, and a session that is open goes on without
    rights until it ends: see `broker.provision.end_session`. Raises InputError for a name that never was there.
    """
    with alone_in(root), _Workspace.existing(root, now).telling() as work:
        return _revoke_client(work, name, now)


def _revoke_client(work: "_Workspace", name: str, now: datetime) -> Revoked:
    if name not in work.register.clients and name not in work.register.barred:
        known = ", ".join(sorted(work.register.clients))
        raise InputError.one(
            "DEVICE", f"site {work.register.site} has given a certificate to {known}", name, code=Code.UNKNOWN
        )
    canary = client_identity(work.authority, client_id(work.register.site, name), now, life=_CANARY_LIFE)
    work.remember(name)
    work.register = work.register.with_certificate(name, canary.serial).without(name, now)
    work.save()  # first: whatever fails from here on, the next command puts the list right
    work.write_revocation_list()
    work.clear(name)
    work.write_text(_ACL, access_list(work.register.site, work.register.kinds))
    work.save()
    return Revoked(work.changes, canary)


@contextmanager
def alone_in_new(root: Path) -> Iterator[None]:
    """As `alone_in`, for a folder that may have to be made first. Raises InputError for one of somebody else."""
    folder = Folder(root)
    if files.read(folder.register) is None:
        files.make_folder(root)
        _refuse_foreign(folder)
        files.make_folder(folder.register.parent)
    with locked(folder.register.parent):
        yield


@contextmanager
def alone_in(root: Path) -> Iterator[None]:
    """Nobody else changes the folder meanwhile. Raises InputError for a folder that is not ours or stays busy."""
    folder = Folder(root)
    load_register(folder)  # a folder that is not ours gets no lock either
    with locked(folder.register.parent):
        yield


def _refuse_foreign(folder: Folder) -> None:
    """Raises InputError when files are there, though provisioning has no register yet."""
    # An empty folder is nobody's: a volume may be mounted there. These two are of a run of ours that was killed.
    ours = {LOCK, files.part_of(folder.register).name}
    try:
        foreign = sorted(
            path.name
            for path in folder.root.iterdir()
            if not path.is_dir()
            or any(one.name not in ours or path != folder.register.parent for one in path.iterdir())
        )
    except OSError as error:
        raise InputError.one(str(folder.root), f"cannot be read: {error.strerror}", code=Code.UNREADABLE) from None
    if foreign:
        told = ", ".join(foreign[:5]) + (", …" if len(foreign) > 5 else "")
        raise InputError.one(
            str(folder.root), f"has files that are not of twinswarm provision: {told}", code=Code.FOREIGN
        )


def open_authority(folder: Folder) -> Authority:
    """Raises InputError when it is not there or damaged."""
    certificate, key = files.read(folder.ca_certificate), files.read(folder.ca_key)
    if certificate is None or key is None:
        lacks = folder.ca_certificate if certificate is None else folder.ca_key
        raise InputError.one(str(lacks), "is missing; without it nothing can be signed", code=Code.MISSING)
    return Authority.load(certificate, key, f"{folder.ca_certificate}, {folder.ca_key}")


@dataclass
class _Workspace:
    folder: Folder
    authority: Authority
    register: Register
    now: datetime
    changes: Changes

    @classmethod
    def opened(cls, root: Path, site: str, now: datetime) -> "_Workspace":
        """The folder of this site; a new one where there is nothing yet."""
        folder = Folder(root)
        if files.read(folder.register) is None:
            return cls._new(folder, site, now)
        work = cls.existing(root, now)
        if work.register.site != site:
            raise InputError.one(
                str(root), f"is the folder of site {work.register.site}, not of {site}", code=Code.FOREIGN
            )
        return work

    @classmethod
    def existing(cls, root: Path, now: datetime) -> "_Workspace":
        folder = Folder(root)
        register, changes = load_register(folder), Changes()
        if files.read(folder.ca_certificate) is None and not register.issued:  # killed before it had an authority
            authority = _new_authority(folder, register.site, now, changes)
        else:
            authority = open_authority(folder)
        work = cls(folder, authority, register, now, changes)
        work._copy_authority()
        work._finish_revocations()
        return work

    @classmethod
    def _new(cls, folder: Folder, site: str, now: datetime) -> "_Workspace":
        Register(site=site).save(folder)  # first: from now on the folder is known as ours
        return cls.existing(folder.root, now)

    def _copy_authority(self) -> None:
        """Beside the broker's files: they are all that the broker's machine gets."""
        self._put(self.folder.broker / "ca.crt", self.authority.certificate_pem, files.PUBLIC)

    def _put(self, path: Path, content: bytes, mode: int) -> None:
        """Writes what is missing. Raises InputError when something else is there."""
        there = files.read(path)
        if there is None:
            self._write(path, content, mode)
        elif there != content:
            raise InputError.one(str(path), "is not the authority's certificate; move it away", code=Code.FOREIGN)

    def _write(self, path: Path, content: bytes, mode: int) -> None:
        files.write(path, content, mode)
        relative = str(path.relative_to(self.folder.root))
        if relative not in self.changes.written:
            self.changes.written.append(relative)

    @contextmanager
    def telling(self) -> Iterator["_Workspace"]:
        """Repairs are reported also when the command fails after them: the broker has to read them."""
        repaired = tuple(self.changes.notes)
        try:
            yield self
        except InputError as error:
            where = str(self.folder.root)
            raise InputError((*error.faults, *(Fault(where, note, code=Code.INVALID) for note in repaired))) from None

    def _finish_revocations(self) -> None:
        """Finishes what a killed `revoke_client` left, and repairs its files: the register decides."""
        content = files.read(self._revocation_list)
        fault = None if content is None else self._fault_of_list(content)
        if fault is not None:
            path = self._revocation_list.relative_to(self.folder.root)
            self.changes.notes.append(f"{path} {fault}; it was made anew, and {_TO_BE_READ}")
        if content is None or fault is not None:
            self.write_revocation_list()
        for name in sorted(self.register.barred):
            self.clear(name)

    def _fault_of_list(self, content: bytes) -> str | None:
        try:
            listed = self.authority.read_revocation_list(content).serials
        except InputError as error:
            return error.faults[0].what
        wanted = {one.serial for one in self.register.revocations()}
        if listed == wanted:
            return None
        lacking, foreign = len(wanted - listed), len(listed - wanted)
        return f"lacked {lacking} of the revoked certificates and had {foreign} that are not"

    def clear(self, name: str) -> None:
        """Deletes the files of one that was revoked."""
        for path in (self.folder.key(name), self.folder.certificate(name)):
            if files.delete(path):
                self.changes.deleted.append(str(path.relative_to(self.folder.root)))

    def remember(self, name: str) -> None:
        """The certificate that lies there is one in this name, also when the register does not know it."""
        content = files.read(self.folder.certificate(name))
        if content is None:
            return
        try:
            certificate = x509.load_pem_x509_certificate(content)
        except ValueError:
            return  # nobody gets in with it
        if self._signed_for(certificate, client_id(self.register.site, name)):
            self.register = self.register.with_certificate(name, certificate.serial_number)

    def admit(self, name: str, kind: Kind | None) -> None:
        self.register = self.register.with_client(name, kind)

    def save(self) -> None:
        self.register.save(self.folder)

    def certify(self, name: str) -> None:
        """A certificate that is missing or ends soon. Raises InputError for one that is not ours."""
        full = client_id(self.register.site, name)

        def issue(key: ec.EllipticCurvePrivateKey | None) -> Identity:
            identity = client_identity(self.authority, full, self.now, key=key)
            self.register = self.register.with_certificate(name, identity.serial)
            self.save()  # before it exists, so that it can be revoked whatever happens
            return identity

        certificate, key = self.folder.certificate(name), self.folder.key(name)
        there = files.read(certificate)
        if there is not None and self._has_an_earlier_name(there, name):
            if files.read(key) is None:
                self.changes.notes.append(
                    f"{name}: its certificate is of an earlier version and not in the name {full}, and its key is not "
                    f"here to renew it: put the key back and repeat this, or `provision revoke {name}`, "
                    f"`provision add {name}` and carry the new one there"
                )
                return
            files.delete(certificate)  # it is made anew below, for the same key
            there = None
        if there is not None and files.read(key) is None:
            # The key was handed over to where the device runs; that is what it is for.
            signed = self._is_ours(certificate, there, full)
            self.remember(name)
            if ends_soon(signed, self.now):
                end = signed.not_valid_after_utc
                ends = "has expired" if end < self.now else f"ends on {end:%Y-%m-%d}"
                self.changes.notes.append(
                    f"{name}: its certificate {ends}, and its key is not here to renew it: put the key back and repeat "
                    f"this, or `provision revoke {name}`, `provision add {name}` and carry the new one there"
                )
            return
        identity = self._loaded(certificate, key, full)
        self.remember(name)
        if isinstance(identity, Identity) and not identity.ends_soon(self.now):
            return
        self._store(certificate, key, issue(identity.key if isinstance(identity, Identity) else identity))

    def certify_broker(self, place: BrokerPlace) -> None:
        """The broker's, anew when it lacks a name. Raises InputError for one that is not ours.

        A name that it has already stays: a renewal does not have to repeat it, and no client loses its way.
        """
        certificate, key = self.folder.broker / "server.crt", self.folder.broker / "server.key"
        name = f"{self.register.site}.broker"
        identity = self._loaded(certificate, key, name)
        earlier: list[str] = []
        if isinstance(identity, Identity):
            earlier = certified_hosts(identity.certificate_pem, str(certificate))
            lacks = {*BROKER_NAMES, *place.names} - {*earlier}
            if not lacks and not identity.ends_soon(self.now):
                return
        kept = [host for host in earlier if host not in {*BROKER_NAMES, *place.names}]
        if kept:
            self.changes.notes.append(
                f"the broker's certificate keeps {', '.join(kept)} of before; without broker/server.crt, which you may "
                "delete, it is made for the names alone that you give"
            )
        reused = identity.key if isinstance(identity, Identity) else identity
        hosts = (*kept, *place.names)
        self._store(certificate, key, broker_identity(self.authority, name, hosts, self.now, key=reused))

    def _loaded(self, certificate: Path, key: Path, name: str) -> Identity | ec.EllipticCurvePrivateKey | None:
        """The files that are there: both, the key alone (a run was killed in between), or none."""
        signed, private = files.read(certificate), files.read(key)
        if private is None:
            if signed is not None:
                raise InputError.one(str(key), "is missing beside its certificate", code=Code.MISSING)
            return None
        if signed is None:
            try:
                alone = load_pem_private_key(private, None)
            except (ValueError, TypeError) as error:
                raise InputError.one(str(key), f"is no private key: {error}", code=Code.FORMAT) from None
            if not isinstance(alone, ec.EllipticCurvePrivateKey):
                raise InputError.one(
                    str(key), "is not a key that twinswarm provision made; move it away", code=Code.FOREIGN
                )
            return alone
        self._is_ours(certificate, signed, name)
        return Identity.load(signed, private, f"{certificate}, {key}")

    def _is_ours(self, path: Path, content: bytes, name: str) -> x509.Certificate:
        try:
            certificate = x509.load_pem_x509_certificate(content)
        except ValueError as error:
            raise InputError.one(str(path), f"is no certificate: {error}", code=Code.FORMAT) from None
        if not self._signed_for(certificate, name):
            raise InputError.one(
                str(path), f"is not a certificate of this authority for {name}; move it away", code=Code.FOREIGN
            )
        if not self.register.holds(certificate.serial_number):
            raise InputError.one(str(path), "is revoked; move it away", code=Code.FOREIGN)
        return certificate

    def _has_an_earlier_name(self, content: bytes, name: str) -> bool:
        """Whether this is a certificate that was issued for ``name`` when a client identifier had another form."""
        try:
            certificate = x509.load_pem_x509_certificate(content)
        except ValueError:
            return False
        issued = str(certificate.serial_number) in self.register.issued.get(name, ())
        full = client_id(self.register.site, name)
        return issued and self.authority.signed(certificate) and not self._signed_for(certificate, full)

    def _signed_for(self, certificate: x509.Certificate, name: str) -> bool:
        wanted = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        return self.authority.signed(certificate) and certificate.subject == wanted

    def _store(self, certificate: Path, key: Path, identity: Identity) -> None:
        if files.read(key) != identity.key_pem:
            self._write(key, identity.key_pem, files.SECRET)
        self._write(certificate, identity.certificate_pem, files.PUBLIC)

    @property
    def _revocation_list(self) -> Path:
        return self.folder.broker / "crl.pem"

    def write_revocation_list(self) -> None:
        """As the register has it, issued after the one that it replaces, if that can be read."""
        before, after = files.read(self._revocation_list), None
        if before is not None:
            with suppress(InputError):
                after = self.authority.read_revocation_list(before).issued
        content = self.authority.revocation_list(self.register.revocations(), after, self.now)
        self._write(self._revocation_list, content, files.PUBLIC)

    def write_text(self, relative: str, text: str) -> None:
        """Raises InputError when the file was changed by somebody else since it was written."""
        path, content = self.folder.root / relative, text.encode()
        there = files.read(path)
        if there != content:
            if there is not None and not self.register.wrote_exactly(relative, there):
                raise InputError.one(
                    str(path), "was changed by hand and would be overwritten; move it away", code=Code.FOREIGN
                )
            self.register = self.register.writes(relative, there, content)
            self.save()  # first: killed after this, the next command knows the file as its own, be it old or new
            self._write(path, content, files.SECRET if relative == _ACL else files.PUBLIC)
        self.register = self.register.wrote(relative, content)


def _new_authority(folder: Folder, site: str, now: datetime, changes: Changes) -> Authority:
    authority = Authority.new(site, now)
    # The certificate last: without it the folder counts as one without an authority.
    for path, content, mode in (
        (folder.ca_key, authority.key_pem, files.SECRET),
        (folder.ca_certificate, authority.certificate_pem, files.PUBLIC),
    ):
        files.write(path, content, mode)
        changes.written.append(str(path.relative_to(folder.root)))
    return authority
