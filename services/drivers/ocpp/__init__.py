"""Chargers with OCPP: the site's central system (CSMS), to which they connect."""
