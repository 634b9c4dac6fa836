"""The requests to a VTN, by the library openadr3: token, programs, events, enrolment, reports."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from schemas.site.openadr import Vtn

if TYPE_CHECKING:
    import httpx

PAGE = 50
"""Objects of one answer, at most by the standard."""
MOST_PAGES = 200
MOST_WAIT_S = 300.0
"""Of what a server asks for by ``Retry-After``."""
MOST_BYTES = 8 * 2**20
OK, UNAUTHORISED, CONFLICT, TOO_MANY = 200, 401, 409, 429


class VtnError(Exception):
    """The server did not answer, or not as the standard says; the text says why, without secrets."""

    def __init__(self, what: str, retry_after_s: float = 0.0) -> None:
        super().__init__(what)
        self.retry_after_s = retry_after_s


def secret_of(vtn: Vtn) -> str | None:
    """The client's secret. Raises VtnError where one is named and cannot be had."""
    if vtn.client_secret_env is not None:
        if not os.environ.get(vtn.client_secret_env):
            raise VtnError(f"the environment variable {vtn.client_secret_env} with the client's secret is not set")
        return os.environ[vtn.client_secret_env].strip()
    if vtn.client_secret_file is not None:
        try:
            return Path(vtn.client_secret_file).read_text(encoding="utf-8").strip()
        except OSError as error:
            what = f"the file {vtn.client_secret_file} with the client's secret cannot be read: {error.strerror}"
            raise VtnError(what) from None
    return None


class VtnClient:
    """One connection to a server. Its token is asked for when there is none, and anew when it is refused."""

    def __init__(self, vtn: Vtn) -> None:
        from openadr3.api import OpenADRClient

        self._vtn = vtn
        self._client: OpenADRClient = OpenADRClient(vtn.url, client_type="ven", user_agent="twinswarm")
        self._authorised = vtn.client_id is None
        self.host = self._client._http.base_url.host

    def close(self) -> None:
        self._client.close()

    def events(self) -> tuple[list[dict[str, Any]], dict[str, dict[str, Any]]]:
        """The events that are there, and the programs by their identifier. Raises VtnError."""
        programs = {str(each.get("id")): each for each in self._all("programs", self._client.get_programs)}
        wanted = self._vtn.program
        query = {}
        if wanted is not None:
            found = [name for name, each in programs.items() if each.get("programName") == wanted]
            if not found:
                there = ", ".join(sorted(str(each.get("programName")) for each in programs.values())) or "none"
                raise VtnError(f"{self.host} has no program {wanted}; it shows {there}"[:300])
            query["programID"] = found[0]
        return list(self._all("events", self._client.get_events, **query)), programs

    def enrol(self, name: str) -> None:
        """Makes the VEN known by its name, if it is not yet. Raises VtnError."""
        request = {"objectType": "VEN_VEN_REQUEST", "venName": name}
        self._asked("enrol", lambda: self._client.create_ven(request), also=(CONFLICT,))

    def report(self, body: dict[str, Any]) -> None:
        """Raises VtnError."""
        self._asked("report", lambda: self._client.create_report(body), also=(CONFLICT,))

    def _all(self, what: str, ask: Callable[..., "httpx.Response"], **query: str) -> Iterator[dict[str, Any]]:
        for page in range(MOST_PAGES):
            answer = self._asked(what, lambda skip=page * PAGE: ask(skip=skip, limit=PAGE, **query))  # type: ignore[misc]
            if not isinstance(answer, list) or not all(isinstance(each, dict) for each in answer):
                raise VtnError(f"{self.host} answers no list of {what}: {str(answer)[:80]!r}")
            yield from answer
            if len(answer) < PAGE:
                return
        raise VtnError(f"{self.host} has more than {MOST_PAGES * PAGE} {what}")

    def _asked(self, what: str, ask: Callable[[], "httpx.Response"], also: tuple[int, ...] = ()) -> Any:
        """The JSON of an answer. Raises VtnError."""
        if not self._authorised:
            self._authorise()
        answer = self._answered(what, ask)
        if answer.status_code == UNAUTHORISED and self._vtn.client_id is not None:
            self._authorise()  # the token's time is over
            answer = self._answered(what, ask)
        if not answer.is_success and answer.status_code not in also:
            raise self._refusal(what, answer)
        return self._json(what, answer)

    def _authorise(self) -> None:
        """Raises VtnError."""
        self._authorised = False
        secret, client_id = secret_of(self._vtn), self._vtn.client_id
        assert secret is not None
        assert client_id is not None
        self._answered("token", lambda: self._client.fetch_token(client_id, secret, self._vtn.token_url))
        self._authorised = True

    def _answered(self, what: str, ask: Callable[[], Any]) -> Any:
        import httpx

        try:
            return ask()
        except httpx.HTTPStatusError as error:
            raise self._refusal(what, error.response) from None
        except httpx.HTTPError as error:
            raise VtnError(f"{self.host} cannot be asked for {what}: {type(error).__name__}") from None
        except (KeyError, TypeError, ValueError) as error:
            raise VtnError(f"{self.host} answers for {what} what cannot be read: {type(error).__name__}") from None

    def _refusal(self, what: str, answer: "httpx.Response") -> VtnError:
        status = answer.status_code
        words = {
            401: "the client is refused: look at client_id and secret",
            403: "the client may not do that: look at its scopes",
            404: "there is nothing there: look at the url",
            429: "too many requests",
        }
        wait = answer.headers.get("Retry-After", "")
        wait_s = min(float(wait), MOST_WAIT_S) if wait.isdigit() else 0.0
        said = words.get(status, answer.reason_phrase or "an error")
        return VtnError(f"{self.host} answers {status} for {what}: {said}", wait_s)

    def _json(self, what: str, answer: "httpx.Response") -> Any:
        if len(answer.content) > MOST_BYTES:
            raise VtnError(f"{self.host} answers {len(answer.content)} bytes for {what}, and {MOST_BYTES} are taken")
        try:
            return answer.json()
        except (ValueError, RecursionError) as error:
            raise VtnError(f"{self.host} answers for {what} what is no JSON: {str(error)[:80]}") from None
