"""The plant: one twin per kind of device, and their physics."""
