"""The stack in containers: a site's compose file."""
