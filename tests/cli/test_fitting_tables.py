"""Tables on consoles of any width: no number is cut."""

import io

import pytest
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from twinswarm.cli.whole_console import WholeConsole

NAMES = ("none", "smart charging", "BESS and V2G")
HEADS = tuple(f"head {place}\n€" for place in range(14))
CELLS = {name: [f"\N{MINUS SIGN}{row + 1} {place + 100}.25" for place in range(14)] for row, name in enumerate(NAMES)}


def money(*, no_wrap: bool) -> Table:
    table = Table(title="house, 2024-05-17", title_justify="left")
    table.add_column("", no_wrap=True)
    for head in HEADS:
        table.add_column(head, justify="right", no_wrap=no_wrap)
    for name, cells in CELLS.items():
        table.add_row(name, *cells)
    return table


def printed(table: Table, width: int, kind: type[Console] = WholeConsole) -> str:
    console = kind(width=width, file=io.StringIO(), highlight=False)
    console.print(table)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.mark.parametrize("width", [60, 80, 120])
@pytest.mark.parametrize("no_wrap", [True, False])
def test_every_number_stands_whole_beside_the_name_of_its_row(width: int, *, no_wrap: bool) -> None:
    text = printed(money(no_wrap=no_wrap), width)
    assert max(map(len, text.splitlines())) <= width
    assert text.count("house, 2024-05-17") == 1
    found: dict[str, list[str]] = {name: [] for name in NAMES}
    for line in text.splitlines():
        name, *cells = (cell.strip() for cell in line.strip("│").split("│"))
        if name in found:
            found[name] += cells
    assert found == CELLS


def test_what_fits_stays_as_it_is() -> None:
    table = money(no_wrap=False)
    wide = printed(table, 300, Console)
    assert printed(table, max(map(len, wide.splitlines()))) == wide == printed(table, 300)
    table.width = 250  # of a table that says itself how wide it is
    assert printed(table, 300) == printed(table, 300, Console)


def test_a_column_wider_than_the_console_is_shown_whole() -> None:
    text = printed(money(no_wrap=True), 20)
    assert all(cell in text for cells in CELLS.values() for cell in cells)
    assert "…" not in text


def test_text_is_wrapped_between_words_before_a_table_is_parted() -> None:
    table = Table("what", "why")
    table.add_column("kWh", justify="right")
    table.add_row("Losses", "cables and the transformer of the network " * 2, "1 234.5")
    text = printed(table, 40)
    assert text.count("what") == 1
    assert all(word in text for word in ("Losses", "cables", "transformer", "network", "1 234.5"))
    assert {len(line) for line in text.splitlines()} == {40}


def test_as_many_columns_are_repeated_as_tell_the_rows_apart() -> None:
    """Two cars at one charger; the edge of a table without a frame has no padding."""
    table = Table(box=SIMPLE, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False)
    for head in ("charger", "car"):
        table.add_column(head, no_wrap=True)
    for head in ("in, kWh", "out, kWh", "cost, €"):
        table.add_column(head, justify="right")
    table.add_row("ev1", "blue", "1.5", "2.5", "3.5")
    table.add_row("ev1", "red", "4.5", "5.5", "6.5")
    lines = [line.split() for line in printed(table, 30).splitlines()]
    assert [line for line in lines if "ev1" in line] == [
        ["ev1", "blue", "1.5"],
        ["ev1", "red", "4.5"],
        ["ev1", "blue", "2.5"],
        ["ev1", "red", "5.5"],
        ["ev1", "blue", "3.5"],
        ["ev1", "red", "6.5"],
    ]
