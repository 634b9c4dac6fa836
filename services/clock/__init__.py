"""Simulated and wall-clock time; the lock-step barrier."""
