"""Analysis of a recorded run: savings, peaks, peak shaving, energy balance, tables, figures, report."""
