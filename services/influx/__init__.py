"""InfluxDB 2: the history on its way there, and what is computed there."""
