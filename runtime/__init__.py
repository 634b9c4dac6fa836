"""Run loops: they drive participants, and are the only ones who know how time passes."""
