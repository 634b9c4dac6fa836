"""A site as processes or containers."""
