"""How large a table may be."""

MAX_ROWS = 2_000_000
MAX_COLUMNS = 2_000
MAX_CELLS = 20_000_000
SAMPLE_LINES = 400
"""In so many first lines the header is looked for."""
