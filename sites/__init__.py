"""Sites: their descriptions with profiles (`data/`), and how one is read (`loader/`)."""
