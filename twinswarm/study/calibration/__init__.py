"""Fitting a site to a published table, on the loop itself."""
