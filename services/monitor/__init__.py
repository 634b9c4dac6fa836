"""The live view of a site while it runs."""
