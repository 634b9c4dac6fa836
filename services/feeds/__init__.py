"""Live values of a site's profiles: day-ahead prices and weather, fetched over HTTP."""
