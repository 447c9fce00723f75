"""What the producer knows of one queue, and when it claims from it next."""

from __future__ import annotations

from dataclasses import dataclass, field

from rivermill.config import QueueConfig
from rivermill.limited_claim import LimitedClaims
from rivermill.lookahead import Flow, Stock, stock_for

#: Single slots that become free are collected for so long, and claims that bring nothing are no closer together in the end.
PATIENCE_SECONDS = 0.01


@dataclass(slots=True)
class QueueState:
    """What the loop knows of one queue; times are monotonic seconds.

    Attributes:
        cooldown: least seconds between two claims, unless the last one brought all it asked for.
        interval: most seconds between two claims while there is room.
        hungry: whether the last claim brought all it asked for.
        wanted: whether a claim is due as soon as the cooldown allows.
        claimed_at: when the last claim went out.
        claimed_before: when the one before it did.
        poll_at: when a claim is due in any case.
        follow_at: when a claim is due after one that brought something: inserts that came with it may have told nobody.
        told: whether somebody has said that there are jobs, since the last claim went out.
        asked: whether that was so of the claim that is on its way.
        empty: claims in a row that brought nothing although somebody had said so.
        stock: jobs to claim beyond the free slots, and the room that is worth a claim.
        leaving: whether the queue is to be removed.
        limited: whether its jobs are claimed within limits.
        closed: whether its rate limit lets no job start before ``poll_at``.
        ends_make_room: whether jobs may run in it once others have ended.
        ended_seen: jobs that had ended when outcomes were written last.
        unwritten: whether some of these outcomes may still have been unwritten then.
    """

    config: QueueConfig
    cooldown: float
    interval: float
    paused: bool = False
    leaving: bool = False
    limited: bool = False
    closed: bool = False
    ends_make_room: bool = True
    ended_seen: int = 0
    unwritten: bool = False
    hungry: bool = False
    wanted: bool = True
    claimed_at: float = float("-inf")
    claimed_before: float = float("-inf")
    poll_at: float = 0.0
    follow_at: float = float("inf")
    told: bool = False
    asked: bool = False
    empty: int = 0
    flow: Flow = field(default_factory=Flow)
    stock: Stock = field(init=False)

    def __post_init__(self) -> None:
        self.stock = stock_for(self.flow, self.config.max_workers)

    def due_at(self, room: int) -> float:
        """When the next claim may go out, with room for so many jobs."""
        if self.paused or self.leaving or room <= 0:
            return float("inf")
        if self.closed:
            return max(self.claimed_at + self.cooldown, self.poll_at)
        if self.hungry:
            return self.claimed_at + (0.0 if room >= self.stock.batch else self.patience)
        earliest = self.claimed_at + self._pause()
        return earliest if self.wanted else max(earliest, min(self.poll_at, self.follow_at))

    @property
    def patience(self) -> float:
        """Seconds for which slots that become free are collected for one claim."""
        return max(self.cooldown, PATIENCE_SECONDS)

    def _pause(self) -> float:
        """Seconds from one claim to the next: more and more where others are faster."""
        return min(self.cooldown * (1 << self.empty), self.patience)

    def begin(self, now: float, jitter: float) -> None:
        """A claim goes out; ``jitter`` from 0 to 1 puts off the next one by up to a tenth of the interval."""
        self.asked, self.told, self.wanted, self.follow_at = self.asked or self.told, False, False, float("inf")
        self.claimed_before, self.claimed_at = self.claimed_at, now
        self.poll_at = now + self.interval + jitter * max(0.1 * self.interval, 0.01)

    def end(self, *, found: int, hungry: bool) -> None:
        """A claim has brought so many jobs; hungry if there may be more."""
        self.hungry = hungry
        if found:
            self.empty = 0
        elif self.asked:
            self.empty = min(self.empty + 1, 10)
        self.asked = False
        if found and not hungry:
            self.follow_at = self.claimed_at + self.patience

    def keep_to(self, claims: LimitedClaims, now: float) -> None:
        """Note what a claim within limits said of the next one: when more may start, that is due at the latest."""
        self.closed, self.ends_make_room = claims.closed, claims.ends_make_room
        if claims.opens_after is not None:
            self.poll_at = min(self.poll_at, now + claims.opens_after)
