"""``python -m services.swarm.cli`` is ``twinswarm``."""

from services.swarm.cli import main

main()
