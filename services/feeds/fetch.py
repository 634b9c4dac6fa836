"""One request over HTTP, repeated where that may help."""

from services.feeds.requests import Request

CONNECT_S, READ_S = 10.0, 30.0
MAX_ANSWER_BYTES = 8 * 2**20
ATTEMPTS = 3
BACKOFF_S = 1.0
"""Before the second attempt; twice as long before each further one. A ``Retry-After`` of the server goes before it."""
MOST_WAIT_S = 60.0
AGAIN = frozenset({429, 500, 502, 503, 504})


class FetchError(Exception):
    """No answer, or one that says no; its text says why, without the request's query, which may hold a token."""


def fetch(request: Request) -> str:
    """The text of the answer. Raises FetchError."""
    import urllib3
    from urllib3.util import Retry, Timeout

    retry = Retry(
        total=ATTEMPTS - 1,
        status_forcelist=AGAIN,
        allowed_methods=None,
        backoff_factor=BACKOFF_S,
        retry_after_max=int(MOST_WAIT_S),
        raise_on_status=False,
        redirect=3,
    )
    headers = {"Accept": "application/json, application/xml", "User-Agent": "twinswarm", **request.headers}
    if request.body is not None:
        headers["Content-Type"] = "application/json"
    host = urllib3.util.parse_url(request.url).host
    with urllib3.PoolManager(retries=retry, timeout=Timeout(connect=CONNECT_S, read=READ_S)) as pool:
        try:
            answer = pool.request(
                "GET" if request.body is None else "POST",
                request.url,
                headers=headers,
                body=request.body,
                preload_content=False,
            )
            text = answer.read(MAX_ANSWER_BYTES + 1, decode_content=True)
            answer.release_conn()
        except urllib3.exceptions.MaxRetryError as error:
            raise FetchError(f"{host} cannot be reached: {type(error.reason).__name__}") from None
        except urllib3.exceptions.HTTPError as error:
            raise FetchError(f"{host} broke off its answer: {type(error).__name__}") from None
    if answer.status != 200:
        what = {401: "the token is refused", 403: "access is refused", 404: "there is nothing there"}
        raise FetchError(f"{host} answers {answer.status}: {what.get(answer.status, answer.reason or 'an error')}")
    if len(text) > MAX_ANSWER_BYTES:
        raise FetchError(f"{host} answers more than {MAX_ANSWER_BYTES} bytes")
    return text.decode("utf-8", "replace")
