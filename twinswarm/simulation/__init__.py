"""A site composed and run in memory: no process, no screen."""
