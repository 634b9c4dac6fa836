"""An EMS algorithm in a file of the user's: ``FILE.py:FUNCTION``."""

import importlib.util
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from schemas.errors import Code, InputError

if TYPE_CHECKING:
    from services.ems.algorithm import Algorithm

ALGORITHM = "--algorithm"


def load_algorithm(text: str, where: str = ALGORITHM) -> "Algorithm":
    """Loads the file and takes the function from it; its imports are looked for beside it, too.

    ``where``: the option that names it.

    Raises InputError when there is no such file or function, or the file cannot be loaded.
    """
    name, colon, function = text.rpartition(":")
    path = Path(name)
    if not colon or path.suffix != ".py" or not function.isidentifier():
        raise InputError.one(where, "FILE.py:FUNCTION is allowed", text, code=Code.FORMAT)
    if not path.is_file():
        raise InputError.one(where, "there is no file of this name", name, code=Code.NOT_FOUND)
    module_name = f"_algorithm_{path.stem}"
    spec = importlib.util.spec_from_file_location(module_name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module  # dataclasses look their module up
    sys.path.append(str(path.absolute().parent))
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        what = f"cannot be loaded: {type(error).__name__}: {error}"
        raise InputError.one(where, what, name, code=Code.UNREADABLE) from error
    found = getattr(module, function, None)
    if not callable(found):
        names = sorted(key for key, value in vars(module).items() if callable(value) and not key.startswith("_"))
        what = f"the file has no such function; it has {', '.join(names) or 'none'}"
        raise InputError.one(where, what, function, code=Code.UNKNOWN)
    algorithm: Algorithm = found
    return algorithm
