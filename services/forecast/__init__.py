"""Prices, load, PV and expected sessions as retained series."""
