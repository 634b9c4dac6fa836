"""The devices of a site as Home Assistant discovers them over MQTT."""
