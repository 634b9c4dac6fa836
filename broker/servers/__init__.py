"""Brokers that this program starts itself: the embedded one, and a local Mosquitto."""
