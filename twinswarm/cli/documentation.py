"""Docstrings of commands as help texts: they are written to be read in both places."""

import inspect
import re

_EXAMPLES = "Examples:"
_BOLD, _CODE = re.compile(r"\*\*(.+?)\*\*"), re.compile(r"`(.+?)`")


def help_text(docstring: str | None) -> str:
    """Rich markup of a docstring: ``**bold**``, `` `code` ``, and a last block ``Examples:`` of indented lines.

    An example is a command and, after two spaces or more, what it does.
    """
    *paragraphs, last = inspect.cleandoc(docstring or "").split("\n\n")
    if last.startswith(_EXAMPLES):
        parts = [_flowing(paragraph) for paragraph in paragraphs]
        return "\n\n".join([*parts, _examples(last.splitlines()[1:])])
    return "\n\n".join(_flowing(paragraph) for paragraph in (*paragraphs, last))


def _flowing(paragraph: str) -> str:
    text = " ".join(line.strip() for line in paragraph.splitlines())
    return _CODE.sub(r"[cyan]\1[/cyan]", _BOLD.sub(r"[b]\1[/b]", text))


def _examples(lines: list[str]) -> str:
    pairs = [re.split(r" {2,}", line.strip(), maxsplit=1) for line in lines]
    width = max(len(pair[0]) for pair in pairs if len(pair) > 1) if any(len(pair) > 1 for pair in pairs) else 0
    told = [
        f"  [cyan]{command:<{width}}[/cyan]  {''.join(note)}" if note else f"  [cyan]{command}[/cyan]"
        for command, *note in pairs
    ]
    return "\n".join(["[b]Examples[/b]", *told])
