"""A source of limits from outside, on the bus."""
