"""A site's ghosts beside a recorded time: what was measured, priced and planned then, read by the same participant."""

import heapq
import itertools
from collections.abc import Iterator
from datetime import datetime

from schemas.errors import Code, InputError
from schemas.messages import Earnings, Phase, TimeMode
from schemas.participant import Received, Turn
from schemas.site import GHOSTS, Site
from schemas.topics import Channel, Kind
from services.ghosts.participant import Ghosts
from services.history.reader import History, is_misdated
from twinswarm.simulation.ghost_world import ghost_worlds

_READ: tuple[tuple[Channel, Kind], ...] = (
    (Channel.SERIES, Kind.TARIFF),
    (Channel.LIMIT, Kind.LIMITER),
    (Channel.TELEMETRY, Kind.METER),
    (Channel.TELEMETRY, Kind.NETWORK),
    (Channel.PLAN, Kind.EMS),
)


def ghosts_over(history: History, run: str, site: Site) -> Iterator[Earnings]:
    """The ghosts of ``site``, of which everything else is as the run has it; one account for each settlement step.

    ``history`` may be a window. In lock-step the same bits as those that lived beside the run, and its last step, too.
    Raises InputError for a site without ghosts.
    """
    if not site.ghosts:
        raise InputError.one(
            f"site {site.site}", f"has no devices in the section {GHOSTS}: there is nothing to run", code=Code.MISSING
        )
    beside = history.site(run).model_copy(update={"ghosts": site.ghosts})
    ghosts = Ghosts(beside, lambda begin, step_s: ghost_worlds(beside, begin, step_s))
    info = history.info(run)
    streams = [history.messages(run, channel, kind) for channel, kind in _READ]
    messages = heapq.merge(*streams, key=lambda received: received.stamp.ts)
    n = itertools.count()
    for at, inbox in _turns(messages, grouped=info.mode is TimeMode.LOCKSTEP):
        told = [each for each in inbox if not is_misdated(info, each.stamp.ts)]
        turn = Turn(Phase.APPLY, at, info.t0, info.t_end, info.step_s, info.mode, next(n))
        while True:
            yield from (out.body for out in ghosts.act(turn, told) if isinstance(out.body, Earnings))
            told = []
            if info.mode is TimeMode.LOCKSTEP or ghosts.wake_at(at) is None:
                break


def _turns(messages: Iterator[Received], *, grouped: bool) -> Iterator[tuple[datetime, list[Received]]]:
    """In lock-step what is of one instant together, in wall time one by one."""
    if grouped:
        for at, of_instant in itertools.groupby(messages, key=lambda received: received.stamp.ts):
            yield at, list(of_instant)
    else:
        for received in messages:
            yield received.stamp.ts, [received]
