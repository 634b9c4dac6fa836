"""A year of one's own site: its variants lived through day by day, settled as they go, and what they come to."""
