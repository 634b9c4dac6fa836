"""The pytest plugin: a site on a broker as a fixture, for tests of other energy software.

It is there in every environment that this package is installed in, and loads nothing before the fixture is used. ::

    def test_my_ems(twinswarm_site):
        site = twinswarm_site(begin="10:00", length="2h", speed=600, attach=["ems"])
        my_ems = MyEms(site.host, site.port)
        result = site.wait(120)
        assert result.departure_shortfall_kwh < 0.1
"""

from collections.abc import Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from twinswarm.swarm import Swarm

MARKER = "twinswarm"


class SiteFactory:
    """Starts sites, and ends them with the test. What ``twinswarm_site`` is."""

    def __init__(self, defaults: dict[str, Any]) -> None:
        self._defaults = defaults
        self._stack = ExitStack()

    def __call__(self, site: Any = None, **options: Any) -> "Swarm":
        """A running `twinswarm.Swarm` of these options, over those of the marker ``twinswarm``.

        Participants are threads of the test's process unless ``threads=False`` is given: that starts sooner. Raises
        `twinswarm.TwinswarmError`.
        """
        from twinswarm.swarm import Swarm

        given = {"threads": True, **self._defaults, **options} | ({} if site is None else {"site": site})
        return self._stack.enter_context(Swarm(**given))

    def close(self) -> None:
        """Ends every site that was started."""
        self._stack.close()


@pytest.fixture
def twinswarm_site(request: pytest.FixtureRequest) -> Iterator[SiteFactory]:
    """Starts a site on a broker: ``twinswarm_site(site="fit_g2v", speed=60, attach=["ems"], ...)``.

    Options are those of `twinswarm.Swarm`; ``@pytest.mark.twinswarm(...)`` gives them for a test, a class or a module.
    """
    defaults: dict[str, Any] = {}
    for mark in reversed(list(request.node.iter_markers(MARKER))):  # the nearest one has the last word
        if mark.args:
            raise pytest.UsageError("the marker twinswarm takes options by name, such as twinswarm(site='carpark')")
        defaults |= mark.kwargs
    factory = SiteFactory(defaults)
    try:
        yield factory
    finally:
        factory.close()


def pytest_configure(config: pytest.Config) -> None:
    """Makes the marker known."""
    config.addinivalue_line(
        "markers", f"{MARKER}(**options): options of twinswarm.Swarm for the fixture twinswarm_site"
    )
