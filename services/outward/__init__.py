"""Twins that answer as devices of another protocol do, so that other systems can be tested against the building.

A face is a server or client of that protocol; `services.outward.participant` puts it beside a twin's MQTT.
"""
