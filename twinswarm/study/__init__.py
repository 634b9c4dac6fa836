"""The published study: its runs, its table, its figures, and what of them is fitted."""
