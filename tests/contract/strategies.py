"""Any message that the contract admits, generated from its models."""

import enum
import types
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

import annotated_types
from hypothesis import strategies as st
from pydantic import AwareDatetime, BaseModel, ValidationError
from pydantic.fields import FieldInfo

_T = TypeVar("_T", bound=BaseModel)


def bodies(model: type[_T], times: st.SearchStrategy[datetime]) -> st.SearchStrategy[_T]:
    """Valid contents of this model; ``times`` is where their instants are drawn from."""
    fields = {name: _value(info.annotation, info.metadata, times) for name, info in model.model_fields.items()}
    required = {name: fields[name] for name, info in model.model_fields.items() if info.is_required()}
    optional = {name: fields[name] for name, info in model.model_fields.items() if not info.is_required()}

    def built(values: dict[str, Any]) -> _T | None:
        try:
            return model(**values)
        except (ValidationError, ValueError):
            return None

    found = st.fixed_dictionaries(required, optional=optional).map(built)
    return found.filter(lambda body: body is not None)  # type: ignore[return-value]


def _value(annotation: Any, metadata: list[Any], times: st.SearchStrategy[datetime]) -> st.SearchStrategy[Any]:
    origin = get_origin(annotation)
    if origin is Annotated:
        inner, *more = get_args(annotation)
        return _value(inner, [*_flat(more), *metadata], times)
    if origin in (Union, types.UnionType):
        return st.one_of([_value(part, metadata, times) for part in get_args(annotation)])
    if origin is Literal:
        return st.sampled_from(get_args(annotation))
    if annotation is type(None):
        return st.none()
    if isinstance(annotation, type) and issubclass(annotation, enum.Enum):
        return st.sampled_from(annotation)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return bodies(annotation, times)
    if annotation is bool:
        return st.booleans()
    if annotation in (int, float):
        return _number(annotation, metadata)
    if annotation in (datetime, AwareDatetime):
        return times
    if annotation is str:
        return _text(metadata)
    return _collection(annotation, origin, metadata, times)


def _collection(
    annotation: Any, origin: Any, metadata: list[Any], times: st.SearchStrategy[datetime]
) -> st.SearchStrategy[Any]:
    arguments = get_args(annotation)
    least = max([0, *(limit.min_length for limit in metadata if isinstance(limit, annotated_types.MinLen))])
    most = min([4, *(limit.max_length for limit in metadata if isinstance(limit, annotated_types.MaxLen))])
    if origin is tuple and arguments[-1] is Ellipsis:
        return st.lists(_value(arguments[0], [], times), min_size=least, max_size=max(least, most)).map(tuple)
    if origin is tuple:
        return st.tuples(*(_value(part, [], times) for part in arguments))
    if origin is dict:
        key, value = arguments
        return st.dictionaries(_value(key, [], times), _value(value, [], times), max_size=most)
    if isinstance(annotation, type) and issubclass(annotation, tuple):  # a NamedTuple
        return st.builds(annotation, **{n: _value(t, [], times) for n, t in annotation.__annotations__.items()})
    raise NotImplementedError(f"no strategy for {annotation}")


def _flat(metadata: list[Any]) -> list[Any]:
    found: list[Any] = []
    for item in metadata:
        found += item.metadata if isinstance(item, FieldInfo) else [item]
    return found


def _number(kind: type, metadata: list[Any]) -> st.SearchStrategy[Any]:
    lows = [limit.ge for limit in metadata if isinstance(limit, annotated_types.Ge)]
    lows += [limit.gt for limit in metadata if isinstance(limit, annotated_types.Gt)]
    highs = [limit.le for limit in metadata if isinstance(limit, annotated_types.Le)]
    highs += [limit.lt for limit in metadata if isinstance(limit, annotated_types.Lt)]
    low, high = max(lows, default=None), min(highs, default=None)
    if kind is int:
        return st.integers(low, high)
    anything = st.floats(low, high, allow_nan=False, allow_infinity=False)
    ordinary = st.floats(max(low, -50.0) if low is not None else -50.0, min(high, 50.0) if high is not None else 50.0)
    return st.one_of(ordinary, anything)


def _text(metadata: list[Any]) -> st.SearchStrategy[str]:
    patterns = [limit.pattern for limit in metadata if getattr(limit, "pattern", None)]
    if patterns:
        return st.from_regex(patterns[0], fullmatch=True)
    least = max([0, *(limit.min_length for limit in metadata if isinstance(limit, annotated_types.MinLen))])
    return st.text(min_size=least, max_size=12)


def instants(start: datetime, end: datetime) -> st.SearchStrategy[datetime]:
    """Mostly within a run, sometimes anywhere."""
    seconds = int((end - start).total_seconds())
    within = st.integers(0, seconds).map(lambda s: start + timedelta(seconds=s))
    steps = st.integers(0, seconds // 900).map(lambda n: start + n * timedelta(minutes=15))
    anywhere = st.sampled_from([datetime(1971, 1, 2, tzinfo=UTC), datetime(2260, 12, 30, tzinfo=UTC), start, end])
    return st.one_of(steps, within, anywhere)
