"""All queues of a process, and the few of them that a claim may be due in: only these are looked at when something happens."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator

from rivermill.lookahead import Stock, quarter, stock_for
from rivermill.queue_state import QueueState

#: Queues of one claim; the rest of those that are due are next.
MOST_AT_ONCE = 1_000


class QueueStates:
    """The queues by name, and what is due in them; times are monotonic seconds.

    Queues that are wanted are candidates, and so are those whose last claim brought something. All others wait for their next
    poll, of which only the earliest time is kept: it is never later than the true one.

    Args:
        held_in: the jobs of a queue that are held here.
        slots: those of the process.
    """

    def __init__(self, held_in: Callable[[str], int], slots: Callable[[], int]) -> None:
        self._held_in = held_in
        self._slots = slots
        self._states: dict[str, QueueState] = {}
        self._candidates: dict[str, None] = {}
        self._stocked: set[str] = set()
        self._limited: set[str] = set()
        self._poll_at = float("inf")
        self._begun_at = float("-inf")

    def __getitem__(self, name: str) -> QueueState:
        return self._states[name]

    def get(self, name: str) -> QueueState | None:
        """A queue, if it is there."""
        return self._states.get(name)

    def add(self, name: str, state: QueueState) -> None:
        """Have one queue more."""
        self._states[name] = state
        self.want(name)

    def remove(self, name: str) -> None:
        """Have one queue less."""
        del self._states[name]
        self._candidates.pop(name, None)
        self._stocked.discard(name)
        self._limited.discard(name)

    def want(self, name: str) -> bool:
        """Claim from a queue as soon as the cooldown allows; returns whether it is there."""
        if name not in self._states:
            return False
        self._states[name].told = True
        self.ask_again(name)
        return True

    def ask_again(self, name: str) -> None:
        """As ``want``, though nobody has said that there are jobs."""
        state = self._states[name]
        state.wanted = True
        if not (state.paused or state.leaving):
            self._candidates[name] = None

    def want_all(self) -> None:
        """Claim from every queue as soon as the cooldown allows."""
        for name in self._states:
            self.want(name)

    def set_paused(self, queue: str, *, paused: bool) -> list[str]:
        """Pause or resume a queue; ``*`` is every queue. Returns those for which that is a change."""
        names: Iterable[str] = self._states if queue == "*" else filter(self._states.__contains__, [queue])
        changed = [name for name in names if self._states[name].paused is not paused]
        for name in changed:
            self._states[name].paused = paused
            self._candidates.pop(name, None)
            self.want(name)
        return changed

    def leave(self, name: str) -> None:
        """Claim from a queue no more."""
        self._states[name].leaving = True
        self._candidates.pop(name, None)

    def set_limited(self, name: str, *, limited: bool) -> None:
        """Note whether a queue's jobs are limited. Where it was closed its limits may be others now."""
        state = self._states[name]
        state.limited, state.closed = limited, False
        if limited:
            self._limited.add(name)
            self._stock(name, state.stock)
        else:
            self._limited.discard(name)
        self.want(name)

    def limited(self) -> Iterator[tuple[str, QueueState]]:
        """The queues whose jobs are limited."""
        return ((name, self._states[name]) for name in self._limited)

    # --- what there is room for ---

    @property
    def ahead(self) -> int:
        """Jobs to claim beyond the free slots, of all queues."""
        stocked = (self._states[name] for name in self._stocked)
        return sum(state.stock.ahead for state in stocked if not (state.paused or state.leaving))

    def restock(self, name: str, now: float, ended: int) -> None:
        """Say anew what of a queue is to be held, after so many of its jobs have ended."""
        state = self._states[name]
        if state.flow.count(now, ended):
            self._stock(name, stock_for(state.flow, min(state.config.max_workers, self._slots())))

    def _stock(self, name: str, stock: Stock) -> None:
        state = self._states[name]
        # What waits here of a limited queue would keep others from running.
        state.stock = stock.without_ahead() if state.limited else stock
        if state.stock.ahead:
            self._stocked.add(name)
        else:
            self._stocked.discard(name)

    def room(self, name: str, free: int) -> int:
        """Jobs to claim of a queue now: no more than are free for all, nor than its own share of slots leaves."""
        state = self._states[name]
        return min(free, state.config.max_workers + state.stock.ahead - self._held_in(name))

    # --- what is due ---

    def outlook(self, now: float, free: int, held: int) -> tuple[float, int]:
        """When the next claim is due, and how few jobs must be held before one that ends is a reason to look again.

        Until then nothing more is there to claim, the time of the claim is waited for, or slots are filled from what was
        claimed ahead.
        """
        self._poll(now)
        due_at, threshold = self._poll_at, -1
        for _, state, room, due in self._look(free):
            due_at = min(due_at, due)
            if state.hungry and (room > 0 or state.stock.ahead):
                threshold = max(threshold, held - max(1, state.stock.batch - room))
            elif room <= 0:
                threshold = max(threshold, held - 1 + room)
        return due_at, threshold

    def due(self, now: float, free: int) -> dict[str, QueueState]:
        """The queues to claim from now, at most ``MOST_AT_ONCE``: those first whose turn was longest ago."""
        self._poll(now)
        due = [(name, state) for name, state, _, due_at in self._look(free) if due_at <= now]
        due.sort(key=lambda one: one[1].claimed_at)
        return dict(due[:MOST_AT_ONCE])

    def _look(self, free: int) -> Iterator[tuple[str, QueueState, int, float]]:
        """Each candidate, the room for it, and when it is due.

        Hungry queues wait for each other until together they have room for a batch: a claim for each would bring little.
        """
        rooms = [(name, self._states[name], self.room(name, free)) for name in self._candidates]
        hungry = [(state, room) for _, state, room in rooms if state.hungry]
        batch = min(quarter(self._slots()), sum(state.stock.batch for state, _ in hungry))
        few = min(free, sum(max(0, room) for _, room in hungry)) < batch
        for name, state, room in rooms:
            due_at = state.due_at(room)
            yield name, state, room, max(due_at, self._begun_at + state.patience) if few and state.hungry else due_at

    def _poll(self, now: float) -> None:
        """Want what is to be polled; and with it what would be soon, so that many queues need few statements."""
        if now < self._poll_at:
            return
        idle = [(name, s) for name, s in self._states.items() if not (s.wanted or s.paused or s.leaving)]
        some = any(state.poll_at <= now for _, state in idle)
        self._poll_at = float("inf")
        for name, state in idle:
            early = state.interval / 2 if some and not state.closed else 0.0
            if state.poll_at <= now + early:
                self.ask_again(name)
            else:
                self._poll_at = min(self._poll_at, state.poll_at)

    # --- claims ---

    def begin(self, names: Iterable[str], now: float) -> None:
        """A claim goes out to these queues."""
        self._begun_at = now
        jitter = random.random()  # the same for all, so that their next polls come together
        for name in names:
            self._states[name].begin(now, jitter)

    def settle(self, name: str, *, found: int, hungry: bool) -> None:
        """A claim has come back from a queue with so many jobs; it is hungry if there may be more."""
        state = self._states[name]
        state.end(found=found, hungry=hungry)
        if hungry:
            self.ask_again(name)
        elif not state.wanted and not found:
            self._candidates.pop(name, None)
            self._poll_at = min(self._poll_at, state.poll_at)

    def pass_over(self, name: str) -> None:
        """A queue that was due has got no slot."""
        self._states[name].hungry = True
        self.ask_again(name)

    def not_reached(self, name: str) -> None:
        """A claim that went out to this queue had got enough jobs before: the queue's turn is as long ago as it was."""
        self._states[name].claimed_at = self._states[name].claimed_before
        self.pass_over(name)
