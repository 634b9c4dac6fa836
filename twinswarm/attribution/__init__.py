"""Who earned what: a site's savings by device, car and mechanism, with an interval."""
