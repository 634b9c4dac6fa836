"""Those designs on which the decision hangs, by all days of the year in one piece."""

from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import replace

from schemas.site import Site
from twinswarm.size.design import site_of
from twinswarm.size.sweep import Assessed, best_of, best_with_v2g, without_v2g, yearly
from twinswarm.year.engine import live_through_year
from twinswarm.year.order import YearOrder
from twinswarm.year.store import YearStore


def decisive(found: Sequence[Assessed]) -> list[Assessed]:
    """The base, the best, and the best with V2G beside the same without V2G, as far as that was assessed; each once."""
    chosen = [found[0], best_of(found)]
    if (best := best_with_v2g(found)) is not None:
        others = [without_v2g(best.design, smart=smart) for smart in (False, True)]
        chosen += [best, *(one for one in found if one.design in others)]
    return [*{one.design: one for one in chosen}.values()]


def order_of_all_days(order: YearOrder, site: Site, chosen: Sequence[Assessed]) -> YearOrder:
    """The same days for these designs, the base first."""
    return replace(order, variants={str(place): site_of(site, one.design) for place, one in enumerate(chosen)})


def by_all_days(
    order: YearOrder, chosen: Sequence[Assessed], store: YearStore, executor: Executor, on_days: Callable[[int], None]
) -> list[Assessed]:
    """``order`` is `order_of_all_days`; days that the store has are not lived through again. Raises TwinswarmError."""
    live_through_year(order, store, executor, lambda _, days: on_days(days))
    prices = chosen[0].prices
    years = [yearly(site, order, list(store.days(name)), prices) for name, site in order.variants.items()]
    return [replace(one, yearly=year, base=years[0]) for one, year in zip(chosen, years, strict=True)]
