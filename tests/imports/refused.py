"""Expecting that an import is refused, by the code of the error and by what it names."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from schemas.errors import Code, InputError


@contextmanager
def refused(code: Code, *named: str) -> Iterator[pytest.ExceptionInfo[InputError]]:
    """The block ends in an error whose first code is this one, and whose text has each of ``named`` in it."""
    with pytest.raises(InputError) as caught:
        yield caught
    assert caught.value.code is code, str(caught.value)
    assert [part for part in named if part not in str(caught.value)] == [], str(caught.value)
