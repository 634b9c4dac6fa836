"""The known shapes of files, by name. A new one is a module with its `Shape`, named in `SHAPES`."""

from dataclasses import replace

from schemas.errors import Code, InputError
from twinswarm.imports.opening import RawFile
from twinswarm.imports.options import Kind
from twinswarm.imports.shapes import (
    acn,
    elaad,
    feed_answers,
    green_button,
    market_tables,
    meter_operators,
    ocpp,
    omie,
    pvgis,
    sessions_table,
    table,
)
from twinswarm.imports.shapes.shape import Shape
from twinswarm.imports.sheet import first_rows

SHAPES: dict[str, Shape] = {
    shape.name: shape
    for shape in (
        *feed_answers.SHAPES,
        *market_tables.SHAPES,
        omie.SHAPE,
        *pvgis.SHAPES,
        green_button.SHAPE,
        *meter_operators.SHAPES,
        acn.SHAPE,
        elaad.SHAPE,
        ocpp.SHAPE,
        sessions_table.SHAPE,
        table.SHAPE,
    )
}


def shape_of(file: RawFile, kind: Kind, named: str | None) -> tuple[Shape, bool]:
    """The shape that is named or recognised, else any table; and whether it was recognised.

    Raises InputError for a name that there is not, or a shape that holds no such values.
    """
    if named is not None:
        shape = SHAPES.get(named)
        if shape is None:
            raise InputError.one("--as", f"one of {', '.join(SHAPES)} is allowed", named, code=Code.UNKNOWN)
        _check(shape, kind, "--as")
        return shape, False
    seen = replace(file, raw=first_rows(file).encode()) if file.workbook else file
    for shape in SHAPES.values():
        if shape.recognises is not None and shape.recognises(seen):
            _check(shape, kind, str(file.path))
            return shape, True
    plain = plain_shape(kind)
    if kind not in plain.kinds:
        known = " and ".join(sorted(shape.name for shape in SHAPES.values() if kind in shape.kinds))
        raise file.refuse(f"is not recognised, and {kind.value} is read from files of {known} alone", code=Code.UNKNOWN)
    return plain, False


def plain_shape(kind: Kind) -> Shape:
    """Any table of that kind."""
    return sessions_table.SHAPE if kind is Kind.SESSIONS else table.SHAPE


def _check(shape: Shape, kind: Kind, where: str) -> None:
    if kind not in shape.kinds:
        kinds = " or ".join(sorted(shape.kinds))
        raise InputError.one(
            where, f"{shape.name} ({shape.title}) holds {kinds}, and no {kind.value}", code=Code.CONFLICT
        )
