"""Whose log line it is: the device and the run of the thread that writes it, for structured logs."""

from contextvars import ContextVar

DEVICE: ContextVar[str | None] = ContextVar("device", default=None)
"""The participant that this thread serves; a process may host several, each in a thread of its own."""
RUN: ContextVar[str | None] = ContextVar("run", default=None)
"""The run that it takes part in; None: none yet."""
