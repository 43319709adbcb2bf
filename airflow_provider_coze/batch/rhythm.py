"""When to look at the chats or runs of a batch: they are many of one kind, so those that have ended tell when the others will."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import replace

from airflow_provider_coze.protocol.pacing import PollSchedule

__all__ = ["LastAsked", "Rhythm"]

#: Of the durations seen: a look is made when so many are over.
_SHARES = (0.25, 0.5, 0.75, 0.95)
#: Durations that are kept, how many there have to be, and after how many more the looks are set anew.
_KEPT, _ENOUGH, _EVERY = 500, 20, 25
#: Coze tells when a chat began and ended in whole seconds.
_ROUNDING_SECONDS = 0.5
#: So much after the moment when so many are over: a look that comes a little too early costs another one.
_LATER_SECONDS = 0.25
_LEAST_GAP_SECONDS = 1.0


class LastAsked:
    """A clock that remembers when it was asked last: of a watch, that is when the look before the next one was over."""

    __slots__ = ("_clock", "at")

    def __init__(self, clock: Callable[[], float], at: float) -> None:
        self._clock, self.at = clock, at

    def __call__(self) -> float:
        """Return the time."""
        self.at = self._clock()
        return self.at


class Rhythm:
    """The schedule of looks of one batch.

    :param polls: the schedule until durations are known, and after the last of its early looks.
    """

    def __init__(self, polls: PollSchedule) -> None:
        self.polls = self._unlearned = polls
        self._seen: deque[float] = deque(maxlen=_KEPT)
        self._next = _ENOUGH

    def learn(self, began: int, ended: int, *, before: float, age: float) -> None:
        """Take how long one took.

        :param began: Unix seconds by Coze's clock, as *ended*. 0: Coze does not say.
        :param before: seconds since it was sent, by ours, when it was last seen to go on. 0: it was not.
        :param age: when its end was seen.
        """
        # Without Coze's word the middle is taken: with the age, each look that comes a little late would make the next ones later.
        took = ended - began + _ROUNDING_SECONDS if began and ended else (before + age) / 2
        self._seen.append(max(0.0, min(max(took, before), age)))
        self._next -= 1
        if self._next <= 0:
            self._next = _EVERY
            self.polls = replace(self._unlearned, early=self._looks())

    def _looks(self) -> tuple[float, ...]:
        ordered, looks = sorted(self._seen), list[float]()
        for share in _SHARES:
            age = max(_LEAST_GAP_SECONDS, ordered[int(share * (len(ordered) - 1))] + _LATER_SECONDS)
            if not looks or age >= looks[-1] + _LEAST_GAP_SECONDS:
                looks.append(age)
        return tuple(looks)
