"""``sunspec``: what a device with SunSpec Modbus offers, and its lines for the site."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from twinswarm.cli import options
from twinswarm.cli.output import Output

if TYPE_CHECKING:
    from rich.console import Console

    from services.drivers.sunspec_scan import Offer


def sunspec(
    host: Annotated[str, typer.Argument(metavar="HOST", help="Name or address of the device.")],
    port: Annotated[int, typer.Option("--port", min=1, max=65_535, help="Its Modbus TCP port.")] = 502,
    unit: Annotated[int, typer.Option("--unit", min=0, max=255, help="Its unit at that port.")] = 1,
    base: Annotated[
        int | None,
        typer.Option("--base", min=0, max=65_000, help="Register where 'SunS' stands.", show_default="40000, 50000, 0"),
    ] = None,
    points: Annotated[bool, typer.Option("--points", help="Show every point that the device has implemented.")] = False,
    timeout: Annotated[
        float, typer.Option("--timeout", metavar="SECONDS", min=0.1, max=60, help="How long it may take to answer.")
    ] = 3.0,
    json: options.JsonOption = None,
) -> None:
    """Ask a device with **SunSpec Modbus** what it offers: models, measurements, how it is commanded, and the
    lines that describe it in the site.

    It only reads. Exit code 1 if the device does not answer or is no SunSpec device.

    Examples:
        twinswarm sunspec 192.168.1.20
        twinswarm sunspec 192.168.1.20 --unit 126 --points
    """
    from schemas.site.drivers import SunspecDriver
    from services.drivers.polled_link import NoAnswerError
    from services.drivers.sunspec_scan import described, scan
    from twinswarm.extras import require

    require("pymodbus", "sunspec2")
    output = Output.to(json)
    driver = SunspecDriver(host=host, port=port, unit=unit, base=base, timeout_s=timeout)
    try:
        offer = scan(driver)
    except NoAnswerError as error:
        output.write({"host": host, "port": port, "unit": unit, "trouble": str(error)})
        output.console.print(str(error), markup=False, soft_wrap=True)
        raise typer.Exit(1) from None
    kind = offer.kind
    site = None if kind is None else described(driver, kind)
    output.write(_json(offer, site) | {"host": host, "port": port, "unit": unit})
    _show(offer, output.console, points=points)
    if site is not None:
        _show_site(offer, site, output.console)


def _json(offer: "Offer", site: dict[str, Any] | None) -> dict[str, Any]:
    kind = offer.kind
    return {
        "identity": offer.identity,
        "models": [{"id": each.id, "address": each.address, "length": each.length} for each in offer.models],
        "kind": kind,
        "measured": {} if kind is None else offer.measured(kind),
        "commands": None if kind is None else offer.commands(kind),
        "site": site,
    }


def _show(offer: "Offer", console: "Console", *, points: bool) -> None:
    def say(text: str) -> None:
        console.print(text, markup=False, highlight=False, soft_wrap=True)

    say(", ".join(f"{name} {text}" for name, text in offer.identity.items()) or "it does not say what it is")
    for each in offer.models:
        block = offer.blocks.get(each.id)
        label = "of the manufacturer's own" if block is None else block.definition.label
        say(f"model {each.id:5} at {each.address:5}  {label}")
        if points and block is not None and block.address == each.address:
            for name, value in offer.points(each.id):
                say(f"    {name:20} {value}")


def _show_site(offer: "Offer", site: dict[str, Any], console: "Console") -> None:
    kind = offer.kind
    assert kind is not None, "who has lines for the site has a kind"
    lines = [f"\nas a {kind} it says"]
    lines += [f"  {name:18} {value}" for name, value in offer.measured(kind).items()]
    lines += [f"  {'commanded by':18} {offer.commands(kind)}"]
    if offer.rated_kw is not None:
        lines.append(f"  {'its power':18} {offer.rated_kw:g} kW")
    fields = ", ".join(f"{name}: {value}" for name, value in site["driver"].items())
    lines += ["\nfor site.yaml, beside the fields of its kind:\n", "devices:", "  NAME:", f"    kind: {kind}"]
    lines.append(f"    driver: {{{fields}}}")
    console.print("\n".join(lines), markup=False, highlight=False, soft_wrap=True)
