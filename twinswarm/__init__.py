"""Simulate a building, run it on a broker, and read what it cost."""
