"""``python -m twinswarm.cli`` is ``twinswarm``."""

from twinswarm.cli import main

main()
