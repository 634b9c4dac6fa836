"""A charger's twin as a charge point of somebody else's central system."""
