"""What is known of a site while it runs."""
