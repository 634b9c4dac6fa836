"""InfluxDB 2 by its client library: the one module that knows it. What the server answers becomes an error that says
what is to be done about it."""

import csv
import io
import json
import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import influxdb_client
from influxdb_client.client.exceptions import InfluxDBError
from influxdb_client.client.write_api import SYNCHRONOUS
from influxdb_client.rest import ApiException
from urllib3.exceptions import HTTPError, ProtocolError, ReadTimeoutError

from schemas.errors import Code, TwinswarmError

TIMEOUT_S = 30.0
"""Time for one request [s]. A server that takes longer for a batch counts as one that did not answer."""
ALL_TIME = "range(start: 1970-01-01T00:00:00Z, stop: 2262-01-01T00:00:00Z)"
"""Range of a Flux query; without a stop it ends now, and simulated days lie anywhere."""

_library: Any = influxdb_client  # it calls itself typed and is not
_DROPPED = re.compile(r"dropped=(\d+)")
_OF_POINTS = re.compile(
    "unable to parse|partial write|field type conflict|outside retention|beyond retention|invalid field|dropped="
)
"""How InfluxDB speaks of points that it does not store."""
_LONGEST_WISH_S = 3600.0
"""Longest wait for a server that asks to be left alone; to ask for more would be a fault of the server."""
_FIELD_CHARACTERS = 1 << 21
"""More than InfluxDB stores in one field (1 MiB), quotes doubled."""


def flux_text(text: str) -> str:
    """A string of Flux, quoted."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("${", "\\${")
    return f'"{escaped}"'


class InfluxError(TwinswarmError):
    """InfluxDB did not do what it was asked."""

    usual_code = Code.REFUSED


class InfluxAwayError(InfluxError):
    """Nobody answers there, too late, or the server has a fault (5xx)."""

    retryable = True
    usual_code = Code.UNREACHABLE


class InfluxSlowError(InfluxAwayError):
    """It took the request and did not answer in time (or what stands before it says so: 408, 504). A smaller one may
    do."""


class InfluxBusyError(InfluxAwayError):
    """429 or 503: later. ``after_s`` is the server's wish, None when it has none."""

    def __init__(self, reason: str, after_s: float | None) -> None:
        super().__init__(reason)
        self.after_s = after_s


class InfluxDeniedError(InfluxError):
    """401 or 403: the token is wrong, or may not do this. Until somebody changes that it will stay so."""

    usual_code = Code.PERMISSION


class InfluxMissingError(InfluxError):
    """404: no such organisation or bucket."""

    usual_code = Code.UNKNOWN


class InfluxTooLargeError(InfluxError):
    """413: the request, not any single point."""

    usual_code = Code.SIZE


class InfluxRequestError(InfluxError):
    """400 or 422 of which InfluxDB does not say that it is about points: a server that expects TLS, a proxy, a fault
    in the query. No point is judged by it."""


class InfluxRefusedError(InfluxError):
    """Points cannot be stored, and InfluxDB says so (400 or 422). ``dropped``: how many points were left out while the
    others were stored; None: unknown, perhaps nothing was stored."""

    def __init__(self, reason: str, dropped: int | None) -> None:
        super().__init__(reason)
        self.dropped = dropped


_MEANING: dict[int, type[InfluxError]] = {
    401: InfluxDeniedError,
    403: InfluxDeniedError,
    404: InfluxMissingError,
    408: InfluxSlowError,
    413: InfluxTooLargeError,
    504: InfluxSlowError,
}


@dataclass(frozen=True, slots=True)
class Bucket:
    name: str
    id: str
    retention_s: int
    """0: kept for ever."""


ADMIN = "admin"
"""The user that `InfluxServer.set_up` makes."""
READ, WRITE = "read", "write"
Grant = tuple[str, str]
"""`READ` or `WRITE`, and the identifier of a bucket."""


@dataclass(frozen=True, slots=True)
class Authorization:
    """A token, and all that it may do; None: it may do more than read and write certain buckets."""

    id: str
    description: str
    token: str = field(repr=False)
    grants: frozenset[Grant] | None


class InfluxServer:
    """One server as one organisation sees it. Every call raises an InfluxError; nothing is repeated in here."""

    def __init__(self, url: str, org: str, token: str, timeout_s: float = TIMEOUT_S) -> None:
        self.url = url
        self.org = org
        self._timeout_ms = round(timeout_s * 1000)
        self._connect(token)

    def _connect(self, token: str) -> None:
        self._client: Any = _library.InfluxDBClient(
            url=self.url, token=token, org=self.org, timeout=self._timeout_ms, enable_gzip=True, retries=False
        )
        self._write = self._client.write_api(write_options=SYNCHRONOUS)

    def use(self, token: str) -> None:
        """From now on."""
        self.close()
        self._connect(token)

    def close(self) -> None:
        self._write.close()
        self._client.close()

    def write(self, bucket: str, lines: Sequence[str]) -> None:
        """Returns once the points are stored."""
        with _answers(f"{self.url}: bucket {bucket} of {self.org}"):
            # Bytes go as they are; of text the client would make batches of its own.
            self._write.write(bucket, self.org, "\n".join(lines).encode(), write_precision=_library.WritePrecision.NS)

    def query(self, flux: str) -> Iterator[dict[str, str]]:
        """Rows of a Flux query, values as the server's CSV writes them, streamed."""
        with _answers(f"{self.url}: query of {self.org}"):
            response = self._client.query_api().query_raw(flux, org=self.org)
            # The client's own reader stops at values of 128 KiB; a message may have 512.
            csv.field_size_limit(_FIELD_CHARACTERS)
            header: list[str] | None = None
            for row in csv.reader(io.TextIOWrapper(response, encoding="utf-8", newline="")):
                if not row:
                    header = None
                elif row[0].startswith("#"):
                    continue  # types of the columns; every field's type is known here
                elif header is None:
                    header = row
                elif "error" in header:
                    raise InfluxRequestError(f"{self.url}: {dict(zip(header, row, strict=False))['error']}")
                else:
                    yield dict(zip(header, row, strict=False))

    # -- what init-history makes

    def set_up(self, password: str, bucket: str, retention_s: int, token: str) -> bool:
        """On a server that was never set up, makes the user `ADMIN`, the organisation, a first bucket, and ``token``
        as one that may do everything. False: it was set up before, and nothing is changed.
        """
        with _answers(f"{self.url}: set-up of {self.org}"):
            service = _library.SetupService(self._client.api_client)
            if not service.get_setup().allowed:
                return False
            service.post_setup(
                _library.OnboardingRequest(
                    username=ADMIN,
                    password=password,
                    org=self.org,
                    bucket=bucket,
                    retention_period_seconds=retention_s,
                    token=token,
                )
            )
        return True

    def bucket(self, name: str) -> Bucket | None:
        """None: there is none of that name."""
        try:
            with _answers(f"{self.url}: buckets of {self.org}"):
                found = self._client.buckets_api().find_buckets(name=name, org=self.org).buckets
        except InfluxMissingError as error:
            if "bucket" in str(error).rpartition(" 404 ")[2]:
                return None
            raise  # the organisation
        # A name that the server takes for none at all has it list every bucket.
        return next((_bucket(bucket) for bucket in found if bucket.name == name), None)

    def create_bucket(self, name: str, retention_s: int, description: str) -> Bucket:
        with _answers(f"{self.url}: bucket {name} of {self.org}"):
            made = self._client.buckets_api().create_bucket(
                bucket_name=name, retention_rules=_retention(retention_s), description=description, org=self.org
            )
        return _bucket(made)

    def remove_bucket(self, bucket: Bucket) -> None:
        """And all that is in it."""
        with _answers(f"{self.url}: bucket {bucket.name} of {self.org}"):
            self._client.buckets_api().delete_bucket(bucket.id)

    def keep_for(self, bucket: Bucket, retention_s: int) -> None:
        with _answers(f"{self.url}: bucket {bucket.name} of {self.org}"):
            api = self._client.buckets_api()
            found = api.find_bucket_by_id(bucket.id)
            found.retention_rules = _retention(retention_s)
            api.update_bucket(found)

    def task(self, name: str) -> tuple[str, str] | None:
        """Identifier and Flux text of a task; None: there is none of that name."""
        with _answers(f"{self.url}: tasks of {self.org}"):
            found = self._client.tasks_api().find_tasks(name=name, org=self.org)
        return next(((task.id, task.flux) for task in found), None)

    def put_task(self, name: str, flux: str) -> None:
        """Makes the task, or gives the one of that name this text."""
        found = self.task(name)
        with _answers(f"{self.url}: task {name} of {self.org}"):
            api = self._client.tasks_api()
            if found is None:
                api.create_task(
                    task_create_request=_library.TaskCreateRequest(org=self.org, flux=flux, status="active")
                )
                return
            task = api.find_task_by_id(found[0])
            task.flux = flux
            task.every = task.cron = task.offset = None  # they stand in the text
            api.update_task(task)

    def authorizations(self) -> list[Authorization]:
        """Those that hold. The server tells tokens to one that may manage them."""
        with _answers(f"{self.url}: tokens of {self.org}"):
            found = self._client.authorizations_api().find_authorizations(org=self.org)
        return [
            Authorization(one.id, one.description or "", one.token or "", _grants(one.permissions))
            for one in found
            if one.status == "active"
        ]

    def authorize(self, description: str, grants: Collection[Grant]) -> str:
        """A new token that may do this and no more."""
        with _answers(f"{self.url}: tokens of {self.org}"):
            organisations = self._client.organizations_api().find_organizations(org=self.org)
            if not organisations:
                raise InfluxDeniedError(f"{self.url}: this token may not look at {self.org}, so it cannot make tokens")
            org = organisations[0]
            permissions = [
                _library.Permission(
                    action=action, resource=_library.PermissionResource(type="buckets", id=bucket, org_id=org.id)
                )
                for action, bucket in sorted(grants)
            ]
            order = _library.Authorization(org_id=org.id, permissions=permissions, description=description)
            made = self._client.authorizations_api().create_authorization(authorization=order)
        return str(made.token)

    def withdraw(self, authorization: Authorization) -> None:
        """Its token holds no longer."""
        with _answers(f"{self.url}: tokens of {self.org}"):
            self._client.authorizations_api().delete_authorization(authorization.id)

    def run(self, flux: str) -> None:
        """A query for its effect."""
        for _ in self.query(flux):
            pass


class _answers:  # noqa: N801 - reads as a statement
    """Makes of what the client raises what is to be done about it."""

    def __init__(self, where: str) -> None:
        self._where = where

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, ApiException):
            raise _error_of(self._where, error) from None
        if isinstance(error, InfluxDBError):  # the client's own: it was not shown what it has to know
            raise InfluxDeniedError(f"{self._where}: {error}") from None
        if isinstance(error, ReadTimeoutError | TimeoutError) or (
            # The body could not be sent in time.
            isinstance(error, ProtocolError) and any(isinstance(cause, TimeoutError) for cause in error.args)
        ):
            raise InfluxSlowError(f"{self._where}: {error}") from None
        if isinstance(error, HTTPError | OSError):
            raise InfluxAwayError(f"{self._where}: {error}") from None


def _error_of(where: str, error: Any) -> InfluxError:
    status = error.status or 0
    reason = f"{where}: {status} {_reason(error)}"
    if status in (400, 422):
        told = _message(error)
        if not _OF_POINTS.search(told):
            return InfluxRequestError(reason)
        dropped = _DROPPED.search(told)
        return InfluxRefusedError(reason, int(dropped[1]) if dropped else None)
    if status in _MEANING:
        return _MEANING[status](reason)
    if status in (429, 503):
        return InfluxBusyError(reason, _retry_after_s(error.headers))
    return InfluxAwayError(reason) if status >= 500 or status == 0 else InfluxError(reason)


def _reason(error: Any) -> str:
    return (_body(error) or str(error.reason)).strip()[:2000]


def _body(error: Any) -> str:
    return error.body.decode(errors="replace") if isinstance(error.body, bytes) else str(error.body or "")


def _message(error: Any) -> str:
    """InfluxDB's own, of its JSON; empty: somebody else answered."""
    try:
        told = json.loads(_body(error))
    except ValueError:
        return ""
    return str(told.get("message") or "") if isinstance(told, dict) and "code" in told else ""


def _retry_after_s(headers: Any) -> float | None:
    """``Retry-After`` in seconds or as a date (RFC 9110, 10.2.3), at most `_LONGEST_WISH_S`."""
    text = (headers or {}).get("Retry-After")
    if text is None:
        return None
    if text.isascii() and text.isdigit():
        return min(float(text), _LONGEST_WISH_S)
    try:
        wish_s = (parsedate_to_datetime(text) - datetime.now(UTC)).total_seconds()
    except (TypeError, ValueError, OverflowError):
        return None
    return min(max(0.0, wish_s), _LONGEST_WISH_S)


def _bucket(found: Any) -> Bucket:
    return Bucket(found.name, found.id, sum(rule.every_seconds for rule in found.retention_rules))


def _grants(permissions: Any) -> frozenset[Grant] | None:
    pairs = [(one.action, one.resource) for one in permissions]
    if any(resource.type != "buckets" or not resource.id for _, resource in pairs):
        return None
    return frozenset((action, resource.id) for action, resource in pairs)


def _retention(seconds: int) -> list[Any]:
    return [_library.BucketRetentionRules(type="expire", every_seconds=seconds)]
