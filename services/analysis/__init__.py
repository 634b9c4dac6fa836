"""Analysis of a recorded run: settlement, savings, peak shaving, energy balance, tables, figures, report."""
