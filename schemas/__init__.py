"""The contract: units and signs, topics, messages, the site description, errors, the participant protocol."""
