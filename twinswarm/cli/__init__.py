"""The command line ``twinswarm``. Whatever is heavy is imported by the command that needs it."""

import sys
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs one command and ends the process: 0 done, 1 it failed, 2 the input is wrong."""
    from schemas.errors import Code, InputError, TwinswarmError
    from twinswarm.cli.app import app

    try:
        app(None if arguments is None else list(arguments), prog_name="twinswarm")
    except (TwinswarmError, OSError, ModuleNotFoundError) as error:
        from twinswarm.cli.output import complain

        if isinstance(error, ModuleNotFoundError):
            from twinswarm.extras import missing_extra

            if (missing := missing_extra(error)) is None:
                raise
            sys.exit(complain(missing))
        if isinstance(error, TwinswarmError):
            sys.exit(complain(error))
        # A path that the machine does not take, a name too long or a folder that may not be read among them. Without
        # a path it is no fault of the input.
        if error.filename is None:
            raise
        sys.exit(
            complain(InputError.one(str(error.filename), error.strerror or "cannot be used", code=Code.UNREADABLE))
        )
