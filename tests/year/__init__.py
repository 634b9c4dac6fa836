"""A year of one's own site."""
