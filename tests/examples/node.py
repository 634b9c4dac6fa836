"""The example battery in JavaScript as somebody elsewhere has it: its files, the contract, what npm installs."""

import shutil
from pathlib import Path

from tests.npm import installed

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "examples" / "node"


def lay_out(folder: Path) -> Path:
    """Copies the example below ``folder``; returns the path of its script."""
    example = folder / "examples" / "node"
    example.mkdir(parents=True)
    for file in (*SOURCE.glob("*.js"), SOURCE / "package.json"):
        shutil.copy(file, example)
    (folder / "docs").mkdir()
    shutil.copy(ROOT / "docs" / "asyncapi.json", folder / "docs")
    (example / "node_modules").symlink_to(installed(SOURCE))
    return example / "attach.js"
