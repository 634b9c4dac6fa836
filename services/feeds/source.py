"""A feed as a source of its participant: a thread that fetches, and keeps the last answer on disk."""

import logging
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pydantic import AwareDatetime, BaseModel, ConfigDict

from schemas.site import Feed, IntervalLabel, Location, Site, day_start
from schemas.site.feeds import OpenAdrFeed, token_path, token_variable
from services.feeds.fetch import FetchError, fetch
from services.feeds.openadr import openadr_reading
from services.feeds.reading import BadAnswerError, Reading
from services.feeds.requests import Request, Wanted, request_for

LOG = logging.getLogger(__name__)

FIRST_RETRY_S = 30.0
"""After a failure; twice as long after each further one, up to the feed's ``every_s``."""
WINDOW_BEFORE, WINDOW_AFTER = timedelta(days=1), timedelta(days=3)
"""Around the local midnight before now: what is asked for."""
PROFILE = "profile."


class FeedAnswer(BaseModel):
    """What a source puts in: an answer, or that there was none and why."""

    model_config = ConfigDict(frozen=True)

    received: AwareDatetime
    start: AwareDatetime | None = None
    step_s: int = 0
    values: tuple[float | None, ...] = ()
    interval_label: IntervalLabel | None = None
    trouble: str | None = None

    @classmethod
    def of(cls, reading: Reading, received: datetime) -> "FeedAnswer":
        return cls(
            received=received,
            start=reading.start,
            step_s=reading.step_s,
            values=reading.values,
            interval_label=reading.interval_label,
        )

    @property
    def reading(self) -> Reading | None:
        if self.start is None:
            return None
        return Reading(self.start, self.step_s, self.values, self.interval_label)


def token_of(feed: Feed) -> str | None:
    """The access token. Raises BadAnswerError where one is named and cannot be had."""
    variable, file = token_variable(feed), token_path(feed)
    if variable is not None:
        if not os.environ.get(variable):
            raise BadAnswerError(f"the environment variable {variable} with the token is not set")
        return os.environ[variable].strip()
    if file is not None:
        try:
            return Path(file).read_text(encoding="utf-8").strip()
        except OSError as error:
            raise BadAnswerError(f"the file {file} with the token cannot be read: {error.strerror}") from None
    return None


def ask(feed: Feed, location: Location, now: datetime, fetched: Callable[[Request], str] = fetch) -> Reading:
    """One request for what is wanted now. Raises FetchError, BadAnswerError."""
    from zoneinfo import ZoneInfo

    if isinstance(feed, OpenAdrFeed):
        return openadr_reading(feed, now)
    midnight = day_start(now, ZoneInfo(location.time_zone))
    wanted = Wanted(midnight - WINDOW_BEFORE, midnight + WINDOW_AFTER, location, token_of(feed))
    try:
        request = request_for(feed, wanted)
    except ValueError as error:
        raise BadAnswerError(str(error)) from None
    return request.read(fetched(request))


@dataclass
class FeedSource:
    """Fetches again and again. What it delivers is a `FeedAnswer`; the one kept on disk comes first.

    ``now``: the machine's clock.
    """

    profile: str
    feed: Feed
    site: Site
    cache: Path | None = None
    now: Callable[[], datetime] = lambda: datetime.now(UTC)

    def __post_init__(self) -> None:
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def name(self) -> str:
        return PROFILE + self.profile

    @property
    def value_type(self) -> type[FeedAnswer]:
        return FeedAnswer

    def open(self, put: Callable[[object], bool]) -> None:
        self._stop.clear()
        self._thread = threading.Thread(target=self._run, args=(put,), name=f"feed {self.profile}", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Does not wait for an answer that is on its way: what comes after it goes nowhere."""
        self._stop.set()

    def _run(self, put: Callable[[object], bool]) -> None:
        kept = self._load()
        if kept is not None:
            put(kept)
        wait_s = FIRST_RETRY_S
        while not self._stop.is_set():
            try:
                answer = FeedAnswer.of(ask(self.feed, self.site.location, self.now()), self.now())
            except (FetchError, BadAnswerError) as error:
                answer = FeedAnswer(received=self.now(), trouble=str(error))
            except Exception as error:  # a thread that ended would leave a feed that nobody asks, and say nothing
                LOG.exception("feed of %s", self.profile)
                answer = FeedAnswer(received=self.now(), trouble=f"{type(error).__name__}: {error}"[:300])
            if self._stop.is_set():
                return
            put(answer)
            if answer.trouble is None:
                self._save(answer)
                wait_s = FIRST_RETRY_S
                self._stop.wait(self.feed.every_s)
            else:
                LOG.warning("feed of %s: %s", self.profile, answer.trouble)
                self._stop.wait(min(wait_s, self.feed.every_s))
                wait_s *= 2

    @property
    def _file(self) -> Path | None:
        return None if self.cache is None else self.cache / f"feed-{self.profile}.json"

    def _load(self) -> FeedAnswer | None:
        if self._file is None or not self._file.is_file():
            return None
        try:
            return FeedAnswer.model_validate_json(self._file.read_bytes())
        except (OSError, ValueError) as error:
            LOG.warning("the kept answer %s is not used: %s", self._file, str(error).splitlines()[0])
            return None

    def _save(self, answer: FeedAnswer) -> None:
        if self._file is None:
            return
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            partial = self._file.with_suffix(".partial")
            partial.write_text(answer.model_dump_json(), encoding="utf-8")
            partial.replace(self._file)
        except OSError as error:
            LOG.warning("the answer cannot be kept in %s: %s", self._file, error.strerror)
