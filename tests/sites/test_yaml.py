"""What YAML text means in a site file: the value that is written there, or a clear fault, within bounds."""

import re
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from schemas.errors import InputError
from sites.loader import load_site
from sites.loader.text import MAX_VALUES, read_yaml


def read(folder: Path, text: str | bytes) -> Any:
    file = folder / "site.yaml"
    file.write_bytes(text.encode() if isinstance(text, str) else text)
    return read_yaml(file)[0]


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("no", "no"),
        ("on", "on"),
        ("Yes", "Yes"),
        ("true", True),
        ("12:30", "12:30"),
        ("12:30:45", "12:30:45"),
        ("010", 10),
        ("0o17", "0o17"),
        ("0x1F", "0x1F"),
        ("1_000", "1_000"),
        ("1e-4", 1e-4),
        ("+.5", 0.5),
        ("2024-05-17", "2024-05-17"),
        ("2024-05-17T10:30:00+02:00", "2024-05-17T10:30:00+02:00"),
        ("~", None),
        ("", None),
        ('"7"', "7"),
        ("'no'", "no"),
        ("!!str 7", "7"),
        ("!!float 7", 7.0),
        ("=", "="),
        ("NO", "NO"),
        ("1.", 1.0),
        ("1.2.3", "1.2.3"),
    ],
)
def test_a_scalar_is_what_the_core_schema_of_yaml_1_2_says(written: str, meant: Any, tmp_path: Path) -> None:
    for text in (f"a: {written}\n", f"%YAML 1.1\n---\na: {written}\n", f"[{written or '~'}]"):
        found = read(tmp_path, text)
        value = found["a"] if isinstance(found, dict) else found[0]
        assert (value, type(value)) == (meant, type(meant)), text


def test_a_byte_order_mark_and_windows_line_ends_change_nothing(tmp_path: Path) -> None:
    assert read(tmp_path, b"\xef\xbb\xbfa: 1\r\nb:\r\n  c: x\r\n") == {"a": 1, "b": {"c": "x"}}


def test_fields_that_are_taken_over_keep_the_line_in_which_they_stand(tmp_path: Path) -> None:
    file = tmp_path / "site.yaml"
    file.write_text("one: &one\n  a: 1\n  b: 2\ntwo:\n  <<: *one\n  b: 3\nthree: {<<: [*one, {a: 9, c: 8}], d: 7}\n")
    data, place = read_yaml(file)
    assert data["two"] == {"a": 1, "b": 3}
    assert data["three"] == {"a": 1, "b": 2, "c": 8, "d": 7}

    def line(*path: str) -> int | None:
        here = place
        for name in path:
            below = here.part(name)
            assert below is not None, path
            here = below
        return here.line

    assert [line("two"), line("two", "a"), line("two", "b"), line("three", "c")] == [4, 2, 6, 7]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a: 1\nb: 2\na: 3\n", "line 3, column 1: 'a' stands twice, first in line 1"),
        ("x: {a: 1, 'a': 2}\n", "line 1, column 11: 'a' stands twice, first in line 1"),
        ("a:\n\tb: 1\n", "line 2, column 1: found character '\\t'"),
        ("a: 1\n---\nb: 2\n", "line 2, column 1: but found another document"),
        ("? [1, 2]\n: 3\n", "line 1, column 3: a field's name is a word"),
        ("a: *there\n", "line 1, column 4: found undefined alias 'there'"),
        ("a: &x [1, *x]\n", "line 1, column 4: contains itself by an anchor"),
        ("a: &x {b: {<<: *x}}\n", "line 1, column 4: contains itself by an anchor"),
        ("<<: 3\n", "line 1, column 5: << takes over the fields of a group"),
        ("a: !site {b: 1}\n", "line 1, column 4: the tag '!site' is not allowed"),
        ("a: !!python/name:os.system x\n", "the tag 'tag:yaml.org,2002:python/name:os.system' is not allowed"),
        ("a: !!binary aGVsbG8=\n", "the tag 'tag:yaml.org,2002:binary' is not allowed"),
        ("a: !!int many\n", "line 1, column 4: 'many' is not of the type 'int' that its tag says"),
        ("a: \x07\n", "is not YAML: unacceptable character #x0007"),
        ("a: [1, 2\n", "line 2, column 1: "),
        ('a: "\\ud800"\n', "line 1, column 4: holds half of a surrogate pair"),
        (b"a: \xff\xfe\n", "line 1: is not UTF-8 text: byte 0xFF at byte 3"),
    ],
)
def test_what_is_no_plain_description_is_a_fault_with_its_line(text: str | bytes, told: str, tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        read(tmp_path, text)
    (fault,) = caught.value.faults
    assert str(fault).startswith(f"{tmp_path / 'site.yaml'}: ")
    assert told in str(fault)


def test_a_billion_laughs_end_in_a_fault_before_they_are_in_memory(tmp_path: Path) -> None:
    lines = ["a0: &a0 [ha, ha, ha, ha, ha, ha, ha, ha, ha, ha]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    tracemalloc.start()
    try:
        with pytest.raises(InputError, match=rf"line 6, column 5: is more than {MAX_VALUES} values"):
            read(tmp_path, "\n".join(lines))
        assert tracemalloc.get_traced_memory()[1] < 20e6
    finally:
        tracemalloc.stop()


def test_a_deep_nest_and_a_long_text_end_in_a_fault(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"line 1, column \d+: is nested too deeply"):
        read(tmp_path, "a: " + "[" * 100_000)
    with pytest.raises(InputError, match="is larger than 4 MiB, the most that is read"):
        read(tmp_path, "# padding\n" * 500_000)


@pytest.mark.parametrize("name", ["/dev/zero", "/dev/null", "/"])
def test_what_is_no_file_is_no_site(name: str) -> None:
    with pytest.raises(InputError, match=re.escape(name) + ".*(is not a regular file|there is no such file)"):
        load_site(name)
