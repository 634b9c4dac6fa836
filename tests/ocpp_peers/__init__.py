"""Charge points and central systems that others wrote: scripts on their packages, which the tests start."""
