"""Takes apart what a broker sends: publications at once, all else for paho, in order.

A recorder is given thousands of publications a second. paho reads each with four calls of the socket and builds three
objects of it; this costs more than all that the recorder then does. So what the socket has is read whole, and a
publication of QoS 0 or 1 (MQTT 3.1.1, section 3.3) is taken out of it here. Every other packet, and one that is not
well-formed, is paho's, byte for byte.
"""

from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

_PUBLISH = 0x30
_LONGEST_LENGTH = 4
"""Bytes of a packet's remaining length (section 2.2.3)."""


class Publication(NamedTuple):
    """A PUBLISH packet. ``mid`` None: QoS 0, which is not acknowledged."""

    topic: str
    payload: bytes
    retained: bool
    mid: int | None


class Incoming:
    """The bytes of one connection, packet by packet, however the network cut them."""

    def __init__(self) -> None:
        self._rest = b""

    def take(self, data: bytes) -> Iterator[Publication | bytes]:
        """The packets that are whole with ``data``: publications, and the bytes of any other packet."""
        buffer = self._rest + data if self._rest else data
        at, end = 0, len(buffer)
        while end - at >= 2:
            length, body = buffer[at + 1], at + 2
            if length & 0x80:
                decoded = _long_length(buffer, at + 1)
                if decoded is None:
                    break  # not all of it has come
                length, body = decoded
                if length < 0:
                    yield buffer[at:]  # no packet is like this: paho ends the connection
                    at = end
                    break
            following = body + length
            if following > end:
                break
            first = buffer[at]
            publication = _publication(first, buffer, body, following) if first & 0xF0 == _PUBLISH else None
            yield publication or buffer[at:following]
            at = following
        self._rest = buffer[at:]


def _long_length(buffer: bytes, at: int) -> tuple[int, int] | None:
    """Remaining length of two to four bytes, and where it ends; -1 for one that goes on; None: it is cut off."""
    length = 0
    for place in range(_LONGEST_LENGTH):
        if at + place >= len(buffer):
            return None
        byte = buffer[at + place]
        length |= (byte & 0x7F) << 7 * place
        if not byte & 0x80:
            return length, at + place + 1
    return -1, at + _LONGEST_LENGTH


def _publication(first: int, buffer: bytes, body: int, end: int) -> Publication | None:
    """None: it is not well-formed, or of QoS 2."""
    qos = first & 0x06
    topic_at = body + 2
    if topic_at > end:
        return None
    topic_end = topic_at + (buffer[body] << 8 | buffer[body + 1])
    if qos == 0:
        payload_at, mid = topic_end, None
    elif qos == 0x02 and topic_end + 2 <= end:
        payload_at, mid = topic_end + 2, buffer[topic_end] << 8 | buffer[topic_end + 1]
    else:
        return None
    if payload_at > end:
        return None
    return Publication(_text(buffer[topic_at:topic_end]), buffer[payload_at:end], bool(first & 0x01), mid)


@lru_cache(maxsize=8192)
def _text(topic: bytes) -> str:
    try:
        return topic.decode()
    except UnicodeDecodeError:
        return "\N{REPLACEMENT CHARACTER}"
