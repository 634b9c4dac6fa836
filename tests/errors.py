"""Expecting an error by its code, and by what it names: a file, a field, a device, a value. Its words may change."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from schemas.errors import Code, InputError, TwinswarmError


@contextmanager
def raises(
    code: Code, *named: str, kind: type[TwinswarmError] = InputError
) -> Iterator[pytest.ExceptionInfo[TwinswarmError]]:
    """The block ends in an error of this kind and code whose text has each of ``named`` in it."""
    with pytest.raises(kind) as caught:
        yield caught
    error = caught.value
    assert code in (error.codes if isinstance(error, InputError) else (error.code,)), (error.code, str(error))
    assert [part for part in named if part not in str(error)] == [], str(error)
