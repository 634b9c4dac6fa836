"""Clock, forecast, EMS, recorder, analysis, and the swarm that composes them."""
