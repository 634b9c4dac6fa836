"""Savings, peak-shaving factor, energy balance, tables, figures, report."""
