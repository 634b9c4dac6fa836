"""Transport: MQTT and in-memory, the run loops that drive any participant, embedded and local brokers."""
