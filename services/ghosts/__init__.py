"""Devices that do not exist yet, beside the real meter: what they would have earned."""
