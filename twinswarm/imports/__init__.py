"""Files as people have them, read into the profiles and charging sessions of a site.

`shapes` knows files by name, `series` reads tables of values by time, `sessions` those of charging sessions. Nothing
is silent: what was recognised, assumed and repaired is in the `Notes` of each import.
"""
