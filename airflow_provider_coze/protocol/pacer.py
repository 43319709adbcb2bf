"""Who may ask next, and when: one budget of requests per second for all who share it. Arithmetic on a ``now`` that is given.

Work goes before waiting, a look whose last moment has come before everything. Other looks are ordered by a virtual clock, as in
self-clocked fair queueing (Golestani, INFOCOM 1994): it runs with the real one while nobody is held back, and else stands at the look
that was let go last. So when more wait than the budget carries, all intervals stretch by the same factor: what is young is still asked
about more often than what is old, nobody starves, and the budget is used up and not exceeded.
"""

from __future__ import annotations

import heapq
import itertools
from collections import deque
from typing import Any

__all__ = ["Pacer", "Ticket"]

#: Of the rate, so that what the network shifts against each other does not put more into one second than is allowed.
_SHARE = 0.975
#: Seconds by which a request that was let go late may be made up for by the next ones: about what a busy event loop is late.
_LENIENCE = 0.010
#: Of the slots that work leaves to looks when there is work for all of them: else a batch that starts for hours would blind a watch.
_LOOKS_IN = 10
#: Everyone who is turned away by the same overload says so: the rate is halved once for them all.
_ONE_OVERLOAD_SECONDS = 3.0
#: Until the rate is what it was before an overload halved it. Coze does not say how long it counts; a minute is its longest period.
_RECOVERY_SECONDS = 60.0
#: The slowest that an overload can make us.
_SLOWEST = 0.2
#: What is remembered of the past to say how fast we were: in seconds.
_MEMORY_SECONDS = 5
#: The longest that a server's Retry-After holds everybody back.
_LONGEST_PAUSE = 60.0
_FOREVER = float("inf")


class Ticket:
    """One request's place in the line."""

    __slots__ = ("by", "joined", "looks", "number", "owner", "ready", "state", "tag")

    def __init__(
        self, number: int, joined: float, ready: float, tag: float, by: float | None, looks: bool, owner: Any
    ) -> None:
        self.number = number  # in the order of joining; no two are equal, so heaps compare no tickets
        self.joined, self.ready, self.tag = joined, ready, tag
        self.by = by
        self.looks = looks
        self.owner = owner  # whom to tell; not looked at here
        self.state = "waits"  # then "went" or "left"


class Pacer:
    """The line of one class of requests. Not safe for threads: whoever shares it between them holds a lock."""

    def __init__(self, rate: float | None) -> None:
        """:param rate: requests per second that the server sees at most. None: as many as there are, until it complains."""
        self._ceiling = rate
        self._rate = rate  # None: not held back
        self._rated_at = 0.0
        self._rise = 0.0  # requests per second and second, after an overload
        self._halved_at = -_FOREVER
        self._normal = 0.0  # where the rise ends
        self._free_at = -_FOREVER  # when the next one may go, were nobody late
        self._paused_until = -_FOREVER
        self._clock = 0.0  # the virtual one
        self._moved_at: float | None = None
        self._numbers = itertools.count()
        self._sleeping: list[tuple[float, int, Ticket]] = []  # by the moment before which they must not go
        self._work: deque[Ticket] = deque()
        self._looks: list[tuple[float, int, Ticket]] = []  # by their tags
        self._last: list[tuple[float, int, Ticket]] = []  # those of the looks that have a last moment
        self._work_in_row = 0
        self._gone: deque[list[int]] = deque(maxlen=_MEMORY_SECONDS + 1)  # [second, how many went]
        self._left = 0  # tickets that were given back and are still in a list
        #: By how much intervals are longer now than they were asked for; 1.0: not at all.
        self.stretch = 1.0
        #: Seconds that requests were held back for the budget, all together.
        self.held_seconds = 0.0
        #: Requests that were let go.
        self.passed = 0

    @property
    def waiting(self) -> int:
        """How many are in the line."""
        return len(self._sleeping) + len(self._work) + len(self._looks) - self._left

    def rate(self, now: float) -> float | None:
        """Return the requests per second that are allowed now. None: not limited."""
        if self._rate is None or not self._rise:
            return self._rate
        risen = self._rate + self._rise * (now - self._rated_at)
        if risen < self._normal:
            return risen
        self._rate, self._rise = self._ceiling, 0.0
        return self._rate

    def allow(self, rate: float | None) -> None:
        """Set the rate when it becomes known."""
        self._ceiling = self._rate = rate
        self._rise = 0.0

    def join(
        self, now: float, *, after: float = 0.0, by: float | None = None, looks: bool = False, owner: Any = None
    ) -> Ticket:
        """Take a place in the line.

        :param after: seconds from now before which it must not go.
        :param by: seconds from now, when it goes before all others. None: it has no last moment.
        :param looks: it only looks, and lets work pass.
        """
        self._move(now)
        after = max(0.0, after)
        last = None if by is None else now + max(by, after)
        ticket = Ticket(next(self._numbers), now, now + after, self._clock + after, last, looks, owner)
        if after > 0:
            heapq.heappush(self._sleeping, (ticket.ready, ticket.number, ticket))
        else:
            self._line_up(ticket)
        return ticket

    def passes(self, now: float) -> bool:
        """Let work go at once if nothing holds anything back, without a place in the line. False: it has to join it."""
        if self._rate is not None or self._work or self._looks or now < self._paused_until:
            return False
        self._count(now)
        return True

    def leave(self, ticket: Ticket) -> None:
        """Give a place back; one that went already stays gone."""
        if ticket.state != "waits":
            return
        ticket.state, ticket.owner = "left", None
        self._left += 1
        # A cancelled wait is let go of at once, and its place when there are more such places than others.
        if self._left > 64 and self._left > self.waiting:
            self._sweep()

    def pop(self, now: float) -> Ticket | None:
        """Let the next one go, if one may go now."""
        self._move(now)
        if not self._may(now):
            return None
        ticket = self._next(now)
        if ticket is None:
            return None
        ticket.state = "went"
        rate = self.rate(now)
        if rate is not None:
            gap = 1.0 / (rate * _SHARE)
            self._free_at = max(self._free_at, now - _LENIENCE) + gap
        self._note(now, ticket)
        return ticket

    def wake(self, now: float) -> float | None:
        """Return when to ask again for the next one. None: nobody waits."""
        self._move(now)
        if self._work or self._looks:
            return max(self._free_at, self._paused_until)
        return max(self._sleeping[0][0], self._paused_until) if self._sleeping else None

    def too_fast(self, now: float, retry_after: float | None = None) -> None:
        """Slow all down, because the server says that there are too many requests; they recover by themselves."""
        if retry_after:
            self._paused_until = max(self._paused_until, now + min(retry_after, _LONGEST_PAUSE))
        if now - self._halved_at < _ONE_OVERLOAD_SECONDS:
            return
        before = self.rate(now)
        # What was too fast is what went, which may be far below what was allowed.
        seen = max(1.0, self._seen(now))
        fast = seen if before is None else min(before, seen)
        self._halved_at = self._rated_at = now
        self._rate = max(_SLOWEST, fast / 2)
        if self._ceiling is not None:
            self._rate = min(self._rate, self._ceiling)
        # Without a known limit the rise goes on to twice what was too much once, and then there is none again.
        self._normal = self._ceiling if self._ceiling is not None else 2 * fast
        self._rise = max(self._normal - self._rate, 1e-9) / _RECOVERY_SECONDS

    # --- inside

    def _move(self, now: float) -> None:
        """Let the virtual clock pass, and wake those whose time has come."""
        if self._moved_at is None:
            self._moved_at = now
        if now > self._moved_at:
            if not self._looks:
                self._clock += now - self._moved_at
            self._moved_at = now
        sleeping = self._sleeping
        while sleeping and sleeping[0][0] <= now:
            self._line_up(heapq.heappop(sleeping)[2])

    def _line_up(self, ticket: Ticket) -> None:
        if ticket.state != "waits":
            self._left -= 1
        elif ticket.looks:
            heapq.heappush(self._looks, (ticket.tag, ticket.number, ticket))
            if ticket.by is not None:
                heapq.heappush(self._last, (ticket.by, ticket.number, ticket))
                if len(self._last) > 2 * len(self._looks) + 64:
                    self._last = [entry for entry in self._last if entry[2].state == "waits"]
                    heapq.heapify(self._last)
        else:
            self._work.append(ticket)

    def _may(self, now: float) -> bool:
        if now < self._paused_until:
            return False
        # A microsecond, because that is what a sum of seconds since 1970 can be off.
        return self._rate is None or now >= self._free_at - 1e-6

    def _next(self, now: float) -> Ticket | None:
        while self._last and (self._last[0][2].state != "waits" or self._last[0][0] <= now):
            ticket = heapq.heappop(self._last)[2]
            if ticket.state == "waits":
                self._left += 1  # its other place, among the looks
                return ticket
        work, looks = self._work, self._looks
        while work and work[0].state != "waits":
            work.popleft()
            self._left -= 1
        while looks and looks[0][2].state != "waits":
            heapq.heappop(looks)
            self._left -= 1
        if work and (self._work_in_row < _LOOKS_IN - 1 or not looks):
            self._work_in_row += 1
            return work.popleft()
        self._work_in_row = 0
        if not looks:
            self._last.clear()
            return None
        tag, _, ticket = heapq.heappop(looks)
        self._clock = max(self._clock, tag)
        return ticket

    def _note(self, now: float, ticket: Ticket) -> None:
        self._count(now)
        self.held_seconds += max(0.0, now - ticket.ready)
        asked = ticket.ready - ticket.joined
        if ticket.looks and asked >= 0.5:
            self.stretch += ((now - ticket.joined) / asked - self.stretch) / 32

    def _count(self, now: float) -> None:
        second = int(now)
        if self._gone and self._gone[-1][0] == second:
            self._gone[-1][1] += 1
        else:
            self._gone.append([second, 1])
        self.passed += 1

    def _seen(self, now: float) -> float:
        """Return how many went in the fullest of the last seconds."""
        return float(max((count for second, count in self._gone if now - second <= _MEMORY_SECONDS), default=0))

    def _sweep(self) -> None:
        self._sleeping = [entry for entry in self._sleeping if entry[2].state == "waits"]
        self._looks = [entry for entry in self._looks if entry[2].state == "waits"]
        self._last = [entry for entry in self._last if entry[2].state == "waits"]
        self._work = deque(ticket for ticket in self._work if ticket.state == "waits")
        heapq.heapify(self._sleeping)
        heapq.heapify(self._looks)
        heapq.heapify(self._last)
        self._left = 0
