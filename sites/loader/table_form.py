"""How a table seems to be written: encoding, separator, decimal sign, lines above the header.

The guess is only said beside a fault. Nothing is read by it: a file that is read otherwise than its owner means gives
wrong numbers without a fault.
"""

import csv
import re
from collections import Counter
from collections.abc import Sequence

from sites.written import TableFile

SAMPLE_BYTES = 64 * 1024
SAMPLE_LINES = 200
MOST_LINES_ABOVE = 50
COMMA_NUMBER = re.compile(r"[-+]?\d{1,3}((\.\d{3})*|\d*)(,\d+)([eE][-+]?\d+)?")
SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "bars", ",": "commas"}
"""By how sure a sign is: a comma may also be one of decimals."""
_UTF_16_MARKS = (b"\xff\xfe", b"\xfe\xff")


def encoding_of(raw: bytes) -> str:
    """The encoding of a file by its first bytes: a mark, or what can be decoded."""
    sample = raw[:SAMPLE_BYTES]
    if sample[:2] in _UTF_16_MARKS:
        return "utf-16"
    try:
        # A character may be cut at the end of the sample; bytes above it count as well, for one umlaut may come late.
        raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        # 0x80 to 0x9F are control characters in latin-1, and the euro sign and quotation marks in cp1252.
        return "cp1252" if any(0x80 <= byte <= 0x9F for byte in raw) else "latin-1"
    return "utf-8"


def form_of(raw: bytes) -> dict[str, object]:
    """The fields of `TableFile` with which the file would be read, those at their defaults left out."""
    found: dict[str, object] = {"encoding": encoding_of(raw)}
    text = raw[:SAMPLE_BYTES].decode("utf-8-sig" if found["encoding"] == "utf-8" else str(found["encoding"]), "replace")
    lines = text.splitlines()[:SAMPLE_LINES]
    for separator in SEPARATORS:
        counts = [_cells(line, separator) for line in lines]
        width, often = Counter(len(cells) for cells in counts if cells).most_common(1)[0] if any(counts) else (0, 0)
        if width < 2 or often < len([cells for cells in counts if cells]) * 0.8:
            continue
        first = next(index for index, cells in enumerate(counts) if len(cells) == width)
        found["separator"] = separator
        found["skip_lines"] = first if first <= MOST_LINES_ABOVE else 0
        cells = [cell for row in counts[first + 1 :] for cell in row]
        if separator != "," and any(COMMA_NUMBER.fullmatch(cell.strip()) for cell in cells):
            found["decimal"] = ","
        break
    fields = TableFile.model_fields
    return {name: found[name] for name in fields if name in found and found[name] != fields[name].default}


def said(form: dict[str, object]) -> str:
    """The fields as they are written in a site file: ``separator: ";", skip_lines: 1``."""
    quoted = {"separator", "decimal"}
    words = []
    for name, value in form.items():
        text = '"\\t"' if value == "\t" else f'"{value}"' if name in quoted else str(value)
        words.append(f"{name}: {text}")
    return ", ".join(words)


def _cells(line: str, separator: str) -> Sequence[str]:
    try:
        return next(csv.reader([line], delimiter=separator), [])
    except csv.Error:
        return []
