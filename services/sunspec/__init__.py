"""SunSpec Modbus: the models' points, their registers, and what they mean in the contract. For drivers and servers."""
