"""How often to look: the rhythm of polling. Arithmetic on an age that is given. Who of many may look first is said in ``pacer``."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["CHAT_POLLS", "RUN_POLLS", "SEARCH_POLLS", "TASK_POLLS", "PollSchedule"]

#: Coze asks for at most one status read a second of each chat (docs: retrieve_chat).
_MIN_POLL_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class PollSchedule:
    """How long to wait before the next look: at certain ages while the work is young, then less and less often.

    Then a wait is a quarter of the age, between ``first_seconds`` and ``ceiling_seconds``: noticing the end late costs at most
    a quarter of what the work itself took, and a run of an hour is not asked 3,600 times.
    """

    first_seconds: float
    ceiling_seconds: float
    early: tuple[float, ...] = ()  # ages of the first looks, in seconds

    def below(self, ceiling_seconds: float | None) -> PollSchedule:
        """Return this schedule with another ceiling (never under 1 s); None keeps it."""
        if ceiling_seconds is None:
            return self
        ceiling = max(_MIN_POLL_SECONDS, ceiling_seconds)
        return PollSchedule(min(self.first_seconds, ceiling), ceiling, self.early)

    def wait(self, *, age: float, left: float | None, chance: float) -> float | None:
        """Return the seconds until the next look, or None: no time is left for one.

        :param age: seconds since the work began.
        :param left: seconds until the deadline; the last look is made right at it. None: no deadline.
        :param chance: a number of [0, 1) that spreads the looks of tasks which began together: up to a tenth earlier, while they
            are young a twentieth. Not more, because a crowd's intervals are all stretched by one factor, and whoever's are longer
            than the others' by chance notices an end later than in one round of all.
        """
        if left is not None and left <= 0:
            return None
        early = next((moment for moment in self.early if moment >= age + _MIN_POLL_SECONDS), None)
        if early is None:
            wait = min(self.ceiling_seconds, max(self.first_seconds, age / 4)) * (1 - 0.1 * chance)
        else:
            wait = min(self.ceiling_seconds, early - age) * (1 - 0.05 * chance)
        wait = max(_MIN_POLL_SECONDS, wait)
        return wait if left is None else min(wait, left)


#: Most chats end within 20 seconds. Found by simulated annealing, for chats of 2 to 20 s, as many of each length and as many of each
#: order of magnitude: fewer looks than every 5 s, and half of the ends noticed in 0.57 of the time (tests/protocol/test_pacing.py).
CHAT_POLLS = PollSchedule(first_seconds=1.0, ceiling_seconds=10.0, early=(3.5, 6.9, 11.1, 15.8, 17.3, 18.7, 20.0))
#: For the one chat that a task waits for on a worker, which is no crowd: a bot that answers at once is to be heard at once.
TASK_POLLS = PollSchedule(first_seconds=1.0, ceiling_seconds=10.0)
#: For what is likely to be there at once, or to be over soon, and is nobody knows how old.
SEARCH_POLLS = PollSchedule(first_seconds=1.0, ceiling_seconds=10.0)
#: A run usually takes longer, and its reads share the budget of starting runs.
RUN_POLLS = PollSchedule(first_seconds=2.0, ceiling_seconds=30.0)
