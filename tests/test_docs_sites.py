"""The parts of a site that stand on the pages, put into the site to start from as a reader would: each is a site."""

import re
import textwrap
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from schemas.site import Site
from sites.loader import load_site
from sites.loader.template import write_template

DOCS = Path(__file__).parents[1] / "docs"
PAGES = ("drivers", "ocpp", "outward", "shadow", "limits", "homeassistant")
BLOCK = re.compile(r"(?s:^```ya?ml\n(.*?)^```)|((?:^ {4}.*\n|^\n(?= {4}))+)", re.MULTILINE)
PARTS = {"devices", "ems", "limits", "ocpp", "driver"}
LEFT_OUT = "…"


def parts_of(page: str) -> list[str]:
    """Code blocks that begin with a part of a site, up to the first empty line: what follows are commands."""
    text = (DOCS / f"{page}.md").read_text(encoding="utf-8")
    blocks = [fenced or textwrap.dedent(indented) for fenced, indented in BLOCK.findall(text)]
    parts = [block.strip("\n").split("\n\n", 1)[0] for block in blocks]
    return [part for part in parts if part.partition(":")[0] in PARTS and not part.endswith(LEFT_OUT)]


def merged(base: Any, part: Any) -> Any:
    """``part`` over what stands there."""
    if not (isinstance(base, dict) and isinstance(part, dict)):
        return part
    return {**base, **{key: merged(base.get(key), value) for key, value in part.items()}}


CASES = [(page, part) for page in PAGES for part in parts_of(page)]


def test_the_pages_have_parts_of_sites() -> None:
    assert {page for page, _ in CASES} == set(PAGES)


@pytest.mark.parametrize(("page", "part"), CASES, ids=[f"{page}-{n}" for n, (page, _) in enumerate(CASES)])
def test_a_part_of_a_site_on_a_page_is_taken(page: str, part: str, tmp_path: Path) -> None:
    write_template(tmp_path)
    yaml = YAML(typ="safe")
    path = tmp_path / "site.yaml"
    site = yaml.load(path)
    lines = [line for line in part.splitlines() if line.strip() != LEFT_OUT]
    given = yaml.load("\n".join(lines))
    if "driver" in given:
        given = {"devices": {"ev1": given}}
    devices = site["devices"]
    for name, spec in given.get("devices", {}).items():
        # A device that is written out replaces the one of its name; of one that is not, the rest is as it was.
        devices[name] = spec if "kind" in spec and LEFT_OUT not in part else merged(devices.get(name, {}), spec)
    for key in given.keys() - {"devices"}:
        site[key] = merged(site.get(key, {}), given[key])
    (tmp_path / "passwords").write_text("CP1:0123456789abcdef\n", encoding="utf-8")
    with path.open("w", encoding="utf-8") as file:
        YAML().dump(site, file)
    found = load_site(path)
    # As every process of `up` is given it.
    assert Site.model_validate_json(found.model_dump_json()) == found


COMMAND = re.compile(
    r"^(?: {4})?(?:\.venv/bin/)?twinswarm (?:twin|up|drive)\b.*--site (carpark|fit_g2v)\b.*$", re.MULTILINE
)
NAMED = re.compile(r"twinswarm (?:twin|drive) ([a-z0-9-]+)|--attach ([a-z0-9-]+)")


def test_commands_on_the_pages_name_devices_that_the_site_in_the_box_has() -> None:
    seen = 0
    for page in sorted(DOCS.glob("*.md")):
        for command in COMMAND.finditer(page.read_text(encoding="utf-8")):
            has = {*load_site(command[1]).devices, "ems"}
            for names in NAMED.findall(command[0]):
                assert set(names) & has, f"{page.name}: {command[0].strip()}"
                seen += 1
    assert seen >= 6
