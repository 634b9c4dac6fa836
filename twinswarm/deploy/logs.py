"""The log of a process: on standard error, a line a message, times in UTC; as text, or as JSON for a collector."""

import json
import logging
import os
import sys
import time
from datetime import UTC, datetime

from runtime.log_context import DEVICE, RUN
from schemas.errors import Code, InputError

OURS = ("broker", "runtime", "schemas", "services", "sites", "twin_devices", "twinswarm")
"""All packages of this project, by whose names their loggers begin."""
FORMAT_VARIABLE = "TWINSWARM_LOG_FORMAT"
"""Environment variable: ``text`` (the default) or ``json``. It reaches the processes that a command starts, too."""
TEXT, JSON = "text", "json"


class JsonLines(logging.Formatter):
    """A line is one JSON object: time, level, device, run, logger, message, and the traceback of an exception."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "device": DEVICE.get(),
            "run": RUN.get(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


def log_to_stderr(ours: int = logging.WARNING) -> None:
    """Sets the log up. ``ours``: the level from which this project's own messages are written; others' are warnings.

    Raises InputError for a format that does not exist; the log is text then.
    """
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    logging.Formatter.converter = time.gmtime
    for package in OURS:
        logging.getLogger(package).setLevel(ours)
    chosen = os.environ.get(FORMAT_VARIABLE) or TEXT
    if chosen not in (TEXT, JSON):
        raise InputError.one(FORMAT_VARIABLE, f"{TEXT} or {JSON} is allowed", chosen, code=Code.FORMAT)
    if chosen == JSON:
        for handler in logging.getLogger().handlers:
            handler.setFormatter(JsonLines())


def complains_in_json() -> bool:
    """Whether the error with which a command ends is to be a line of the log: a collector reads nothing else."""
    return any(isinstance(handler.formatter, JsonLines) for handler in logging.getLogger().handlers)
