"""``provision``: certificates, access list and broker configuration of a site."""

import os
import re
import sys
from contextlib import nullcontext
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from typer.core import TyperGroup

from schemas.errors import Code, Fault, InputError
from schemas.topics import DEVICE_PATTERN, Kind
from twinswarm.cli import options
from twinswarm.cli.documentation import help_text
from twinswarm.deploy.process import utc_now

if TYPE_CHECKING:
    from broker.address import BrokerAddress
    from broker.provision.workspace import Changes
    from schemas.site import Site

OUT = Path("provisioned")
FOLDER_VARIABLE, NAMES_VARIABLE = "TWINSWARM_PROVISIONED", "TWINSWARM_BROKER_NAMES"
RELOAD_WAIT_S = 60.0
RELOAD = (
    "SIGHUP (in the stack: docker compose exec mosquitto sh -c 'kill -HUP 1'), but only while the recorder is "
    "connected; otherwise restart the broker, or the recorder loses what it misses"
)

DeviceArgument = Annotated[str, typer.Argument(metavar="DEVICE", help="Name of the device, such as ev1.")]
FolderOption = Annotated[
    Path,
    typer.Option("--dir", metavar="DIR", help="The folder that `provision SITE --out` made.", envvar=FOLDER_VARIABLE),
]
BrokerNameOption = Annotated[
    list[str] | None,
    typer.Option(
        "--broker-name",
        metavar="HOST",
        help="Host name or address by which clients reach the broker, besides localhost, 127.0.0.1 and mosquitto. "
        "Repeatable; several names may be separated by commas. Names of an earlier call are kept.",
        envvar=NAMES_VARIABLE,
    ),
]
PidOption = Annotated[
    int | None,
    typer.Option(
        "--pid",
        metavar="PID",
        min=1,
        help="Mosquitto's process on this machine: it receives SIGHUP and reads its files again. Use it only while "
        "the recorder is connected: a recorder that is away loses messages after that. Otherwise restart the broker.",
        show_default="you send SIGHUP",
    ),
]
KindChoice = Literal[
    "charger",
    "bess",
    "heatpump",
    "pv",
    "meter",
    "network",
    "ems",
    "clock",
    "recorder",
    "forecast",
    "tariff",
    "limiter",
    "shadow",
    "operator",
    "ghosts",
    "observer",
]


class _SiteByDefault(TyperGroup):
    """``provision SITE`` beside ``provision add DEVICE``: what is no subcommand is a site."""

    def parse_args(self, ctx, args):  # type: ignore[no-untyped-def]
        if args and args[0] not in self.commands and args[0] not in ctx.help_option_names:
            args = ["site", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(cls=_SiteByDefault, no_args_is_help=True)


def site(
    site: Annotated[str, typer.Argument(metavar="SITE", help="Site description: file, folder or name in the box.")],
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            metavar="DIR",
            help="Folder for all files; made if it does not exist, then kept up to date.",
            envvar=FOLDER_VARIABLE,
        ),
    ] = OUT,
    broker_name: BrokerNameOption = None,
    port: Annotated[
        int, typer.Option("--port", min=1, max=65_535, help="Port on which the broker listens, with TLS.")
    ] = 8883,
    bind: Annotated[
        str, typer.Option("--bind", metavar="ADDRESS", help="Address on which the broker listens.")
    ] = "127.0.0.1",
    config_dir: Annotated[
        str | None,
        typer.Option(
            "--config-dir",
            metavar="DIR",
            help="Path of the folder broker/ as Mosquitto sees it, if it runs in a container.",
            show_default="DIR/broker",
        ),
    ] = None,
    data_dir: Annotated[
        str | None,
        typer.Option(
            "--data-dir",
            metavar="DIR",
            help="Folder in which Mosquitto keeps retained and queued messages.",
            show_default="DIR/broker/data",
        ),
    ] = None,
    broker_user: Annotated[
        str | None,
        typer.Option(
            "--broker-user",
            metavar="NAME",
            help="Account that Mosquitto changes to when root starts it; broker/ has to belong to it.",
            show_default="Mosquitto's own default; for root: root",
        ),
    ] = None,
) -> None:
    """Make a **site's certificates, access list and mosquitto.conf**.

    It makes an authority, a certificate for the broker and for every device and service of the site, the access list,
    and a configuration of Mosquitto that admits nobody without a certificate. Only you can read the keys. A second call
    changes nothing; after a change of the site it makes what is missing. The word `site` may be left out.

    Examples:
        twinswarm provision fit_g2v --out provisioned
        mosquitto -c provisioned/broker/mosquitto.conf
        twinswarm up --broker mqtts://localhost:8883 --certificates provisioned
        twinswarm provision mysite --broker-name broker.example.org --bind 0.0.0.0
    """
    from broker.provision.files import make_folder
    from broker.provision.hosts import checked_hosts
    from broker.provision.mosquitto_conf import BrokerPlace
    from broker.provision.workspace import provision_site
    from sites.loader import load_site

    described = load_site(site)
    _check_fallbacks(described)
    folder = out.absolute()
    place = BrokerPlace(
        config=PurePosixPath(config_dir) if config_dir else folder / "broker",
        data=PurePosixPath(data_dir) if data_dir else folder / "broker" / "data",
        names=_names(broker_name),
        port=port,
        bind=checked_hosts("--bind", (bind,))[0],
        user=broker_user or ("root" if os.geteuid() == 0 else None),
    )
    faults = [
        Fault(option, "a single line without spaces at its ends is allowed", repr(text), code=Code.FORMAT)
        for option, text in (
            ("--config-dir", str(place.config)),
            ("--data-dir", str(place.data)),
            ("--broker-user", place.user or "root"),
        )
        if not text or text != text.strip() or not text.isprintable()
    ]
    if faults:
        raise InputError(faults)
    changes = provision_site(described, folder, place, utc_now())
    if data_dir is None:
        make_folder(folder / "broker" / "data")
    _tell(changes, out, "everything is there already; nothing was changed")


def stack(
    site: Annotated[str, typer.Argument(metavar="SITE", help="Site description: file, folder or name in the box.")],
    secrets: Annotated[
        Path, typer.Option("--secrets", metavar="DIR", help="Where each service's volume is mounted, as DIR/SERVICE.")
    ],
    folder: FolderOption = OUT,
    broker_name: BrokerNameOption = None,
) -> None:
    """Give **each container of the stack** its secrets: what `docker compose run --rm provision` does, as root.

    All of `provision SITE`, for a Mosquitto in a container, and passwords and tokens besides. Every service gets its
    own, in a volume that belongs to its account. A second run changes nothing; after a change of the site or a new
    version of the program it makes what lacks or differs.

    Examples:
        twinswarm provision stack fit_g2v --dir /provisioned --secrets /secrets
    """
    from broker.provision.workspace import alone_in_new
    from services.dashboards import files as grafana_files
    from sites.loader import load_site
    from twinswarm.deploy.stack.secrets import provision_stack

    described, names = load_site(site), _names(broker_name)
    _check_fallbacks(described)
    root = folder.absolute()
    # The random secrets and the volumes, too, are made by one command at a time. Who is not root is refused below.
    with alone_in_new(root) if os.geteuid() == 0 else nullcontext():
        changes = provision_stack(described, root, secrets.absolute(), names, grafana_files(), utc_now())
    _list(changes.authority, folder)
    _list(changes.volumes, secrets)
    if changes.first:
        typer.echo(f"every service of site {described.site} has its secrets")
    elif changes.services:
        typer.echo(f"services to be restarted if they run: {' '.join(changes.services)}")
    else:
        typer.echo("everything is there already; nothing was changed")


def add(
    device: DeviceArgument,
    kind: Annotated[
        KindChoice,
        typer.Option(
            "--kind",
            help="Kind of the device; its rights follow from it. observer: may read everything, write nothing.",
        ),
    ],
    folder: FolderOption = OUT,
    pid: PidOption = None,
) -> None:
    """Make a certificate for **one more device**, or a new one for one that was revoked.

    No other file changes but the access list, which a running Mosquitto reads again on SIGHUP.

    Examples:
        twinswarm provision add ev9 --kind charger
        twinswarm provision add dashboard --kind observer --dir provisioned --pid 4711
    """
    from broker.provision.workspace import add_client

    _check_name(device)
    _check_process(pid)
    changes = add_client(folder.absolute(), device, None if kind == "observer" else Kind(kind), utc_now())
    _tell(changes, folder, f"{device} has its certificate already; nothing was changed")
    # Also when nothing was changed: an earlier call may have had no process, or one that was gone.
    if not _hang_up(pid) and changes.written:
        typer.echo(f"a running broker has to read its access list anew: {RELOAD}")


def revoke(
    device: DeviceArgument,
    folder: FolderOption = OUT,
    broker: Annotated[
        str | None,
        typer.Option(
            "--broker",
            metavar="URL",
            help="mqtts://host:port of the running broker: the device's open connection is ended there.",
            show_default="no connection is ended",
        ),
    ] = None,
    pid: PidOption = None,
    wait: Annotated[
        float, typer.Option("--wait", metavar="SECONDS", min=0.0, help="Time for the broker to read its files again.")
    ] = RELOAD_WAIT_S,
) -> None:
    """Revoke **one device's** certificates and rights, and end its connection.

    Its certificates go on the list of the revoked; its rights and its key are deleted. A running Mosquitto reads both
    files on SIGHUP. The command waits for that, ends the device's open connection, and reports the device offline.

    Examples:
        twinswarm provision revoke ev9 --broker mqtts://localhost:8883 --pid 4711
        twinswarm provision revoke ev9 --broker mqtts://localhost:8883  waits until you send SIGHUP
    """
    from broker.provision.end_session import end_session
    from broker.provision.layout import Folder
    from broker.provision.register import load_register
    from broker.provision.workspace import open_authority, revoke_client

    _check_name(device)
    _check_process(pid)
    address = None if broker is None else _address(broker)
    root = folder.absolute()
    revoked = revoke_client(root, device, utc_now())
    _tell(revoked.changes, folder, "nothing was changed")
    told = _hang_up(pid)
    if address is None:
        if not told:
            typer.echo(f"a running broker has to read its files anew: {RELOAD}")
        typer.echo(
            f"the open session of {device}, if there is one, is then without rights; a restart of the broker ends it, "
            "and so does `provision revoke --broker URL`"
        )
        return

    def remind() -> None:
        if not told:
            typer.echo(f"waiting {wait:g} s for the broker to read its files anew: {RELOAD}", err=True)

    kept = Folder(root)
    authority, register = open_authority(kept), load_register(kept)
    end_session(address, authority, register.site, device, revoked.canary, utc_now(), wait_s=wait, remind=remind)
    typer.echo(f"{device} is locked out: no session of it is open, and its certificate is refused")


def export(
    device: DeviceArgument,
    out: Annotated[
        Path, typer.Option("--out", metavar="FILE", help="A tar archive; not overwritten. - is standard output.")
    ],
    folder: FolderOption = OUT,
) -> None:
    """Pack **one device's** certificate and key, to carry them to where it is.

    The archive has ca.crt, the certificate, its key and a README.txt of how to connect. It is readable by you alone;
    whoever has it is the device.

    Examples:
        twinswarm provision export ev9 --out ev9.tar
        docker compose run --rm provision export ev9 --out - > ev9.tar
    """
    from broker.provision.export import export_client, packed_client

    _check_name(device)
    if out == Path("-"):
        if sys.stdout.isatty():
            raise InputError.one(
                "--out", "a terminal would spoil the archive; send standard output to a file", "-", code=Code.CONFLICT
            )
        sys.stdout.buffer.write(packed_client(folder.absolute(), device))
        return
    export_client(folder.absolute(), device, out)
    typer.echo(out)


for command in (site, stack, add, revoke, export):
    app.command(help=help_text(command.__doc__))(command)


def _tell(changes: "Changes", folder: Path, unchanged: str) -> None:
    _list(changes, folder)
    if not changes.written and not changes.deleted:
        typer.echo(unchanged)


def _list(changes: "Changes", folder: Path) -> None:
    for path in changes.written:
        typer.echo(f"wrote {folder / path}")
    for path in changes.deleted:
        typer.echo(f"deleted {folder / path}")
    for note in changes.notes:
        typer.echo(f"note: {note}", err=True)


def _check_fallbacks(site: "Site") -> None:
    """Raises InputError when the fallbacks are together above a limit of the site: nothing real is to be so."""
    from schemas.fallbacks import fallback_faults

    if faults := fallback_faults(site):
        raise InputError(faults)


def _names(told: list[str] | None) -> tuple[str, ...]:
    """Of ``--broker-name``. An empty one is none: compose hands on a variable that nobody set as an empty one."""
    from broker.provision.hosts import checked_hosts

    names = (name for text in told or () for one in text.split(",") if (name := one.strip()))
    return checked_hosts("--broker-name", names)


def _check_process(pid: int | None) -> None:
    """Before anything is written: a wrong number is then told while the command can simply be repeated."""
    if pid is not None:
        from broker.provision.reload import check_mosquitto

        check_mosquitto(pid)


def _hang_up(pid: int | None) -> bool:
    """Whether somebody was told. Raises InputError for a process that is not there or not ours."""
    if pid is None:
        return False
    from broker.provision.reload import reload_mosquitto

    reload_mosquitto(pid)
    return True


def _address(text: str) -> "BrokerAddress":
    connection = options.connection(text, None, None, None, None, None)
    if not connection.address.tls:
        raise InputError.one(
            "--broker", "certificates need an encrypted connection; use mqtts://", text, code=Code.UNENCRYPTED
        )
    return connection.address


def _check_name(device: str) -> None:
    if re.fullmatch(DEVICE_PATTERN, device) is None:
        raise InputError.one("DEVICE", "1 to 31 of a-z 0-9 - are allowed", device, code=Code.FORMAT)
