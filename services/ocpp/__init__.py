"""Facts of OCPP, for who serves charge points and for who is one."""
