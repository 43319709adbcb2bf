"""When an execution is over: arithmetic on a duration, a clock reading and a number of status reads."""

from __future__ import annotations

from dataclasses import dataclass

from airflow_provider_coze.emulator.definitions import Duration, Polls, Seconds

__all__ = ["Progress"]


@dataclass(slots=True)
class Progress:
    """How far one execution is."""

    duration: Duration
    started_at: float
    polled: bool = True  # False: nobody can poll it (a stream, a synchronous run), so polls cannot be waited for
    reads: int = 0

    def read(self) -> None:
        """Count one status read; call it after the status has been worked out for that read."""
        self.reads += 1

    def over(self, now: float) -> bool:
        """Whether a status read at *now* shows the end."""
        match self.duration:
            case Seconds(count=seconds):
                return now >= self.started_at + seconds
            case Polls(count=polls) if self.polled:
                return self.reads >= polls
            case _:
                return True

    def ended_at(self, now: float) -> float:
        """When it ended, given that it is over at *now*."""
        match self.duration:
            case Seconds(count=seconds):
                return self.started_at + seconds
            case Polls() if self.polled:
                return now
            case _:
                return self.started_at

    @property
    def seconds(self) -> float:
        """How long it takes by the clock alone."""
        return max(0.0, self.duration.count) if isinstance(self.duration, Seconds) else 0.0
