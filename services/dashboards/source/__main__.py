"""Writes the dashboards to where they are checked in."""

from pathlib import Path

from services.dashboards.source import rendered

FOLDER = Path(__file__).parents[1] / "provisioning" / "dashboards" / "twinswarm"

if __name__ == "__main__":
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, text in rendered().items():
        (FOLDER / name).write_text(text, encoding="utf-8")
