"""The size of storage for a site."""
