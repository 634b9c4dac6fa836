"""Reads site descriptions: YAML with its CSV files, or a resolved site as JSON."""

from sites.loader.box import builtin_sites
from sites.loader.loading import load_description, load_site
from sites.loader.scenario import load_scenario

__all__ = ["builtin_sites", "load_description", "load_scenario", "load_site"]
