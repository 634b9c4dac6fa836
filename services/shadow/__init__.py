"""The twin beside a real device: it predicts what the device measures, and says where the two part."""
