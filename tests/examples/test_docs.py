"""The pages that can be checked: topics.md against the contract, README.md against what .ci/run takes from it."""

import importlib.util
import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_page_of_topics_is_what_the_contract_says() -> None:
    spec = importlib.util.spec_from_file_location("topics_page", ROOT / "docs" / "topics.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    page = (ROOT / "docs" / "topics.md").read_text(encoding="utf-8")
    assert page == module.page(), "run python docs/topics.py"


def test_the_section_start_has_exactly_two_code_blocks() -> None:
    start = re.split(r"^## ", (ROOT / "README.md").read_text(encoding="utf-8"), flags=re.MULTILINE)
    (section,) = [part for part in start if part.startswith("Start\n")]
    blocks = re.findall(r"^```\w*\n(.*?)^```$", section, flags=re.MULTILINE | re.DOTALL)
    assert len(blocks) == 2
    assert "twinswarm up" in blocks[0]
    assert "pytest" in blocks[1]


def test_the_files_that_pages_link_to_exist() -> None:
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))):
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_the_map_in_the_readme_names_every_folder() -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode != 0:
        folders = {path.name for path in ROOT.iterdir() if path.is_dir() and (path / "__init__.py").exists()}
    else:
        folders = {line.split("/")[0] for line in listed.stdout.splitlines() if "/" in line and line[0] != "."}
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert not [folder for folder in sorted(folders) if f"{folder}/" not in readme]


def test_the_example_is_of_about_a_hundred_lines_and_knows_nothing_of_this_project() -> None:
    """Lines of code; the limit is the one that the example was promised to keep."""
    text = (ROOT / "examples" / "charger.py").read_text(encoding="utf-8")
    code = [line for line in text.splitlines() if line.strip() and not line.strip().startswith("#")]
    assert len(code) <= 130
    for name in ("charger.py", "v2g.py", "connection.py", "consumer.py"):
        imports = re.findall(r"^(?:from|import) (\w+)", (ROOT / "examples" / name).read_text(), flags=re.MULTILINE)
        assert not set(imports) & {"schemas", "broker", "twin_devices", "services", "sites", "pydantic"}
