"""Documentation against the repository: links and paths lead somewhere, and every command that is named exists."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
import typer

from tests.test_imports import OURS, RULES
from twinswarm.cli.app import app

ROOT = Path(__file__).parents[1]
LEFT_OUT = {".git", ".venv", "node_modules", "runs", "build"}

ROOMS = {"schemas", "sites", "broker", "runtime", "twin_devices", "services", "twinswarm", "tests", "docs", "examples"}

LINK = re.compile(r"\]\(\s*<?([^)\s>]+)>?[^)]*\)")
FENCE = re.compile(r"^ *```.*?^ *```", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"`[^`\n]*`")
HEADING = re.compile(r"^#{1,6} +(.+?)\s*$", re.MULTILINE)
# A command in a code block or between backticks: `twinswarm COMMAND`, also by its path in a virtual environment.
COMMAND = re.compile(r"(?<![\w@:.-])(?:\.venv/bin/)?twinswarm +([a-z][a-z-]*)(?: +([a-z][a-z-]*))?")


def pages() -> list[Path]:
    """All Markdown files of the repository."""
    return [path for path in sorted(ROOT.rglob("*.md")) if not LEFT_OUT & set(path.relative_to(ROOT).parts)]


def anchors(text: str) -> set[str]:
    """Anchors of a page's headings, as GitHub makes them."""
    found: set[str] = set()
    for heading in HEADING.findall(FENCE.sub("", text)):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
        found.add(re.sub(r"[^\w\- ]", "", plain).replace(" ", "-"))
    return found


def broken_links(path: Path, text: str) -> list[str]:
    """Relative links of a page whose file or heading does not exist."""
    broken = []
    for target in LINK.findall(CODE.sub("", FENCE.sub("", text))):
        if re.match(r"[a-z][a-z+.-]*:", target):
            continue
        name, _, anchor = unquote(target).partition("#")
        file = (path.parent / name).resolve() if name else path
        has_anchor = (
            file.suffix != ".md" or not anchor or not file.exists() or anchor in anchors(file.read_text("utf-8"))
        )
        if not (file.exists() and has_anchor):
            broken.append(target)
    return broken


def missing_files(text: str) -> list[str]:
    """Files and folders of the repository between backticks, by their path from its top, that do not exist."""
    return [
        name
        for name in re.findall(r"`([^`\s]+)`", FENCE.sub("", text))
        if name.partition("/")[0] in ROOMS and "/" in name and re.fullmatch(r"[\w./-]+", name)
        if not (ROOT / name).exists()
    ]


def commands() -> dict[str, set[str]]:
    """Commands of `twinswarm`, each with its subcommands."""
    top = subcommands(typer.main.get_command(app))
    return {name: set(subcommands(command)) for name, command in top.items() if not command.hidden}


def subcommands(command: Any) -> dict[str, Any]:
    """Subcommands of a command by name; empty for one that has none."""
    found: dict[str, Any] = getattr(command, "commands", {})
    return found


def named_commands(text: str) -> Iterator[tuple[str, str]]:
    """(command, next word) of each `twinswarm COMMAND` in code blocks and between backticks."""
    for code in [*FENCE.findall(text), *CODE.findall(FENCE.sub("", text))]:
        yield from COMMAND.findall(re.sub(r"\\\n", " ", code))


def unknown_commands(text: str, known: dict[str, set[str]]) -> list[str]:
    """Commands that a page names and that do not exist."""
    unknown = []
    for command, word in named_commands(text):
        if command not in known:
            unknown.append(command)
        elif known[command] and word and word not in known[command] and not _is_argument(command):
            unknown.append(f"{command} {word}")
    return unknown


def _is_argument(command: str) -> bool:
    """Whether a command with subcommands also takes an argument of its own: `provision SITE`."""
    return command == "provision"


@pytest.mark.parametrize("path", pages(), ids=lambda path: str(path.relative_to(ROOT)))
def test_every_relative_link_leads_to_a_file_and_a_heading(path: Path) -> None:
    assert broken_links(path, path.read_text(encoding="utf-8")) == []


# The changelog names commands that were renamed.
@pytest.mark.parametrize(
    "path",
    [path for path in pages() if path.name != "CHANGELOG.md"],
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_every_command_that_is_named_exists(path: Path) -> None:
    assert unknown_commands(path.read_text(encoding="utf-8"), commands()) == []


@pytest.mark.parametrize("path", pages(), ids=lambda path: str(path.relative_to(ROOT)))
def test_every_file_of_the_repository_that_is_named_exists(path: Path) -> None:
    assert missing_files(path.read_text(encoding="utf-8")) == []


def test_the_readme_lists_every_command_and_no_other() -> None:
    table = (ROOT / "README.md").read_text(encoding="utf-8").partition("\n## Commands\n")[2].partition("\n## ")[0]
    first_cells = re.findall(r"^\|([^|]*)\|", table, re.MULTILINE)
    listed = {name.split()[0] for cell in first_cells for name in re.findall(r"`([^`]+)`", cell)}
    assert listed == set(commands())


def test_the_table_of_rooms_is_that_of_the_imports() -> None:
    section = (
        (ROOT / "docs" / "design.md").read_text(encoding="utf-8").partition("\n## Rooms\n")[2].partition("\n## ")[0]
    )
    rows = [
        [cell.strip() for cell in row.strip("|").split("|")] for row in re.findall(r"^\|.*\|$", section, re.MULTILINE)
    ]
    table = {
        _part(room): {_part(name) for name in re.findall(r"`([^`]+)`", allowed)} for room, _, allowed in rows[2:-1]
    }
    ours = {part: {name for name in allowed if name.partition(".")[0] in OURS} for part, allowed in RULES.items()}
    assert table == {part: allowed for part, allowed in ours.items() if part not in {"services", "twinswarm"}}


def _part(path: str) -> str:
    """A room of the table by its name in the rules of imports: `services/ems`, `broker/transport.py`."""
    return path.strip("`").removesuffix("/").removesuffix(".py").replace("/", ".")


def test_the_program_is_installed_under_the_name_that_the_pages_use() -> None:
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["scripts"]
    assert "twinswarm" in scripts


def test_what_is_broken_is_found(tmp_path: Path) -> None:
    (tmp_path / "there.md").write_text("# A heading: of `two` parts\n\n```\n# no heading\n```\n")
    text = (
        "[a](there.md) [b](gone.md) [c](there.md#a-heading-of-two-parts) [d](there.md#no-heading) [e](#here)\n"
        "[f](https://example.org/x) `[g](no-link.md)`\n\n## Here\n\n"
        "`twinswarm run --case 3`, `.venv/bin/twinswarm walk`, `twinswarm site resolve`\n\n"
        "```\ntwinswarm site forget\ntwinswarm up --attach ev1\n```\n"
    )
    page = tmp_path / "page.md"
    page.write_text(text)
    assert missing_files("`docs/topics.md`, `docs/gone.md`, `services/ems`, `and/or`") == ["docs/gone.md"]
    assert broken_links(page, text) == ["gone.md", "there.md#no-heading"]
    known = {"run": set(), "up": set(), "site": {"resolve"}}
    assert sorted(unknown_commands(text, known)) == ["site forget", "walk"]
