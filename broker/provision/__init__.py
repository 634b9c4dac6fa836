"""Certificates, access list and configuration of a site's Mosquitto, from the site description."""
