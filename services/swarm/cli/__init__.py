"""The command line ``twinswarm``. Whatever is heavy is imported by the command that needs it."""

import sys
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs one command and ends the process: 0 done, 1 it failed, 2 the input is wrong."""
    from schemas.errors import TwinswarmError
    from services.swarm.cli.app import app

    try:
        app(None if arguments is None else list(arguments), prog_name="twinswarm")
    except TwinswarmError as error:
        from services.swarm.cli.output import complain

        sys.exit(complain(error))
