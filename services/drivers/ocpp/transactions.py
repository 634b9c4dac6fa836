"""Numbers of OCPP 1.6's transactions, which the central system gives."""

import time
from collections import OrderedDict
from collections.abc import Hashable

_REMEMBERED = 1000
_BEGIN_OF_COUNT = 1_704_067_200
"""2024-01-01: seconds since then fit into 31 bits until 2092."""


class Transactions:
    """A number is never given twice, over restarts too: it is the time in seconds, or the one after the last.

    A start that is sent again, because its answer was lost, gets the same number.
    """

    def __init__(self) -> None:
        self._last = 0
        self._given: OrderedDict[Hashable, int] = OrderedDict()

    def number_of(self, start: Hashable) -> int:
        number = self._given.get(start)
        if number is None:
            number = self._last = max(self._last + 1, int(time.time()) - _BEGIN_OF_COUNT)
            self._given[start] = number
            if len(self._given) > _REMEMBERED:
                self._given.popitem(last=False)
        return number
