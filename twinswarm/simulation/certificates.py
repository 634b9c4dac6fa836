"""Certificates of plans as files, each for a checker without a solver (docs/certificates.md)."""

import json
from datetime import UTC, datetime
from pathlib import Path

from schemas.errors import Code, InputError, RunFailedError
from schemas.messages import Plan
from services.ems.certificate.participant import Certify


class Certificates:
    """Keeps how the newest plan's certificate is made, and writes it when it is wanted."""

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self._newest: tuple[Plan, Certify] | None = None
        self.written = 0

    def __call__(self, plan: Plan, certify: Certify) -> None:
        self._newest = plan, certify

    def has(self, plan: Plan) -> bool:
        """Whether this is the newest plan for which a program was solved."""
        return self._newest is not None and self._newest[0] is plan

    def write(self, plan: Plan, to: Path | datetime) -> None:
        """Writes the certificate of ``plan``, the newest: to a file, or to the folder with the time of the decision.

        Raises RunFailedError where nothing was solved for it, as where the plan before goes on; InputError for a file
        that cannot be written.
        """
        if self._newest is None or not self.has(plan):
            why = plan.reason or "no program was solved"
            raise RunFailedError(f"the plan of {plan.start.isoformat()} ({plan.status}) has no certificate: {why}")
        if isinstance(to, datetime):
            assert self._folder is not None
            to = self._folder / f"{to.astimezone(UTC):%Y%m%dT%H%M%S}Z.json"
        text = json.dumps(self._newest[1](), separators=(",", ":"), ensure_ascii=False, allow_nan=False)
        try:
            to.write_text(text + "\n", encoding="utf-8")
        except OSError as error:
            raise InputError.one(str(to), f"cannot be written: {error.strerror}", code=Code.UNWRITABLE) from None
        self.written += 1
