"""Opens a history by its address, wherever it is kept."""

from services.history.reader import History
from services.history.sqlite import INFLUX_SCHEMES, SqliteHistory, history_path


def open_history(url: str) -> History:
    """A history for reading, ``sqlite:PATH`` or ``influxdb://host:port/org/bucket`` (see `services.influx.reader`).

    Raises InputError when there is none, or the file is something else, InfluxError when the server does not answer.
    """
    if is_influx(url):
        from services.influx.reader import open_influx_history

        return open_influx_history(url)
    return SqliteHistory(history_path(url))


def is_influx(url: str) -> bool:
    return url.startswith(INFLUX_SCHEMES)
