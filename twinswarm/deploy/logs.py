"""The log of a process: on standard error, a line a message, times in UTC."""

import logging
import sys
import time

OURS = ("broker", "runtime", "schemas", "services", "sites", "twin_devices", "twinswarm")
"""All packages of this project, by whose names their loggers begin."""


def log_to_stderr(ours: int = logging.WARNING) -> None:
    """Sets the log up. ``ours``: the level from which this project's own messages are written; others' are warnings."""
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    logging.Formatter.converter = time.gmtime
    for package in OURS:
        logging.getLogger(package).setLevel(ours)
