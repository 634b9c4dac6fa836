"""Site descriptions in the box, with their profiles, and how one is read."""
