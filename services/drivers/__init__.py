"""Drivers of real devices: a participant in wall time, and links to hardware by protocol."""
