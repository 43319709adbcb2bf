"""Decide whether a request is made again, and after how long. Arithmetic only: nothing here sleeps.

Two questions: can the failure pass by itself, and could Coze have acted already? A billed request is repeated only when
it provably never left, or was turned away before anything ran (Coze has no idempotency key: every repeated POST is billed
again).
"""

from __future__ import annotations

from dataclasses import dataclass

from tenacity import RetryCallState, wait_random_exponential

from airflow_provider_coze.errors import CozeAPIError, CozeError, CozeTransportError
from airflow_provider_coze.protocol import codes
from airflow_provider_coze.protocol.envelope import meaning_of
from airflow_provider_coze.protocol.messages import Replay

__all__ = ["RetryPolicy"]

#: Where the wait starts after 720702222; public clients wait 30 to 120 s after it.
_SLOW_START_SECONDS = 30.0
#: The longest Retry-After that is waited out. Coze documents none; a gateway that asks for an hour gets an error instead of a worker.
_RETRY_AFTER_CAP_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often and how long one request is tried."""

    attempts: int = 4  # the first one included
    base_seconds: float = 1.0  # the wait after attempt n is drawn from 0 .. base * 2 ** (n - 1): full jitter
    cap_seconds: float = 30.0  # of one drawn wait
    budget_seconds: float = 120.0  # of all waits of one request together

    def next_wait(self, error: CozeError, attempt: int, replay: Replay, waited: float = 0.0) -> float | None:
        """Return the seconds to wait before attempt ``attempt + 1``, or None: give up and raise *error*.

        :param attempt: how many attempts were made, 1 after the first.
        :param waited: seconds that this request has spent waiting so far.
        """
        again = _again(error, replay)
        if again is codes.Again.NO or attempt >= self.attempts:
            return None
        if error.retry_after:
            wait = min(error.retry_after, _RETRY_AFTER_CAP_SECONDS)
        else:
            wait = self._backoff(attempt) + (_SLOW_START_SECONDS if again is codes.Again.SLOWLY else 0.0)
        return wait if waited + wait <= self.budget_seconds else None

    def _backoff(self, attempt: int) -> float:
        state = RetryCallState(retry_object=None, fn=None, args=(), kwargs={})  # type: ignore[arg-type]  # only the number is read
        state.attempt_number = attempt
        return float(wait_random_exponential(multiplier=self.base_seconds, max=self.cap_seconds)(state))


def _again(error: CozeError, replay: Replay) -> codes.Again:
    if isinstance(error, CozeTransportError):
        return codes.Again.SOON if error.never_sent or replay is Replay.ALWAYS else codes.Again.NO
    if isinstance(error, CozeAPIError) and (replay is Replay.ALWAYS or _turned_away(error)):
        return meaning_of(error.code or 0, error.status or 0).again
    return codes.Again.NO


def _turned_away(error: CozeAPIError) -> bool:
    """Tell whether the answer says that nothing ran. A debug_url says the opposite of any code: only a run that exists has one."""
    return error.debug_url is None and meaning_of(error.code or 0, error.status or 0).started is False
