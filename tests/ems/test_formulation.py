"""The page of the whole formulation names every file that has a part of it."""

from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_page_names_every_term() -> None:
    page = (ROOT / "docs/formulation.md").read_text(encoding="utf-8")
    files = {file.name for file in (ROOT / "services/ems/terms").glob("*.py")}
    assert {file for file in files if f"`{file}`" not in page} == set()
    assert "storage.py" in files
