"""What a recorded run cost and saved: settlement, peak shaving, energy balance, tables, figures, report."""
