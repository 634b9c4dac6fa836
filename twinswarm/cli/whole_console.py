"""The console that commands print to: tables stand whole on it, and what cannot be written is an error in a line."""

from typing import Any

from rich.console import Console
from rich.table import Table

from twinswarm.cli.fitting_tables import parts_of
from twinswarm.cli.output import unwritten


class WholeConsole(Console):
    """A table that does not fit is printed in parts."""

    def print(self, *objects: Any, **how: Any) -> None:
        """Raises InputError when the stream takes no more."""
        try:
            match objects:
                case (Table() as table,):
                    for part in parts_of(table, self):
                        super().print(part, crop=False, **how)
                case _:
                    super().print(*objects, **how)
        except OSError as error:
            raise unwritten(self.file, error) from None
