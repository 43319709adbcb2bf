"""The budget that all who wait share, for hours of virtual time: never exceeded, used up, and fair."""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest

from airflow_provider_coze.protocol.pacer import Pacer, Ticket
from airflow_provider_coze.protocol.pacing import CHAT_POLLS

EPOCH = 1_764_849_600.0
#: `make test` runs these with the rest, `make unit`, which has a minute, does not.
long = pytest.mark.matrix


def chances(seed: int) -> random.Random:
    """Chance that is the same each time."""
    return random.Random(seed)  # noqa: S311 - nothing secret


@dataclass
class Simulated:
    """A pacer with a clock, and what it let go: like a gate, woken when the pacer says so, some milliseconds late."""

    pacer: Pacer
    late: Callable[[], float] = lambda: 0.0
    now: float = EPOCH
    went: list[float] = field(default_factory=list)
    plan: list[tuple[float, int, Callable[[], None]]] = field(default_factory=list)
    numbers: Iterator[int] = field(default_factory=itertools.count)

    def at(self, when: float, what: Callable[[], None]) -> None:
        heapq.heappush(self.plan, (when, next(self.numbers), what))

    def ask(
        self, then: Callable[[float], None], after: float = 0.0, by: float | None = None, looks: bool = True
    ) -> Ticket:
        return self.pacer.join(self.now, after=after, by=by, looks=looks, owner=then)

    def run(self, seconds: float) -> None:
        until = EPOCH + seconds
        while self.now < until:
            while (ticket := self.pacer.pop(self.now)) is not None:
                self.went.append(self.now)
                ticket.owner(self.now)
            wake = self.pacer.wake(self.now)
            moments = [until] if wake is None else [until, max(wake, self.now) + self.late()]
            if self.plan:
                moments.append(self.plan[0][0])
            self.now = max(self.now + 1e-6, min(moments))
            while self.plan and self.plan[0][0] <= self.now:
                heapq.heappop(self.plan)[2]()

    def most_in_a_second(self) -> int:
        first, most = 0, 0
        for last, moment in enumerate(self.went):
            while self.went[first] <= moment - 1.0:
                first += 1
            most = max(most, last - first + 1)
        return most


class Waiter:
    """Something that is looked at again and again."""

    def __init__(
        self,
        world: Simulated,
        interval: float | Callable[[], float],
        takes: float = 0.1,
        first: float | None = None,
        **how: float,
    ) -> None:
        self.world, self.takes, self.how = world, takes, how
        self.interval = interval if callable(interval) else lambda: interval
        self.looks: list[float] = []
        self.look(self.interval() if first is None else first)

    def look(self, after: float) -> None:
        self.world.ask(self.seen, after, **self.how)  # type: ignore[arg-type]

    def seen(self, now: float) -> None:
        self.looks.append(now)
        self.world.at(now + self.takes, lambda: self.look(self.interval()))

    def gaps(self, since: float = 0.0) -> list[float]:
        return [later - earlier for earlier, later in itertools.pairwise(self.looks) if earlier >= EPOCH + since]


def crowd(world: Simulated, count: int, interval: float, seed: int = 1) -> list[Waiter]:
    chance = chances(seed)
    return [Waiter(world, interval, first=chance.uniform(0, interval)) for _ in range(count)]


def late(seed: int = 7, upto: float = 0.008) -> Callable[[], float]:
    chance = chances(seed)
    return lambda: chance.uniform(0, upto)


@pytest.mark.parametrize(("rate", "seconds"), [
    (0.2, 7_200), (1, 7_200), (20, 300), pytest.param(20, 7_200, marks=long), pytest.param(100, 300, marks=long), (500, 10),
    pytest.param(500, 120, marks=long),
])  # fmt: skip
def test_an_overloaded_budget_is_used_up_and_never_exceeded(rate: float, seconds: float) -> None:
    world = Simulated(Pacer(rate), late())
    crowd(world, int(max(4, 40 * rate)), interval=10.0)  # four times what the budget carries
    world.run(seconds)
    assert world.most_in_a_second() <= max(1, int(rate * 1.02))
    assert len(world.went) >= 0.95 * rate * seconds


@pytest.mark.parametrize("rate", [20.0, pytest.param(500.0, marks=long)])
def test_requests_that_the_network_shifts_stay_in_the_budget(rate: float) -> None:
    world, shift = Simulated(Pacer(rate), late()), chances(3)
    crowd(world, int(30 * rate), interval=10.0)
    world.run(60)
    world.went = sorted(moment + shift.uniform(0, 0.012) for moment in world.went)
    assert world.most_in_a_second() <= rate * 1.02


def test_a_budget_that_suffices_holds_nobody_back() -> None:
    world = Simulated(Pacer(100.0))
    waiters = crowd(world, 500, interval=10.0)  # 50 a second
    world.run(120)
    gaps = sorted(gap for waiter in waiters for gap in waiter.gaps())
    assert gaps[0] >= 10.0999
    assert gaps[int(0.99 * len(gaps))] < 10.3
    assert world.pacer.stretch == pytest.approx(1.0, abs=0.02)


def test_when_too_many_wait_all_intervals_stretch_by_the_same_factor() -> None:
    world = Simulated(Pacer(20.0), late())
    old, young = crowd(world, 400, interval=10.0, seed=1), crowd(world, 40, interval=2.0, seed=2)  # 60 a second
    world.run(900)
    means = [
        sum(gaps) / len(gaps) / waiters[0].interval()
        for waiters in (old, young)
        if (gaps := [gap for waiter in waiters for gap in waiter.gaps(since=300)])
    ]
    assert means[0] == pytest.approx(means[1], rel=0.05)
    assert world.pacer.stretch == pytest.approx(means[0], rel=0.1)
    assert 3.0 < means[0] < 3.3  # 60 / (20 * 0.975)
    every = [len(waiter.looks) for waiter in old]
    assert min(every) >= 0.95 * max(every), "nobody starves"


def test_what_ends_is_noticed_within_the_interval_of_the_moment() -> None:
    """The lag of a watch: from a random moment to its next look. What chance adds to an interval, a crowd stretches."""
    world, chance = Simulated(Pacer(50.0), late()), chances(5)

    def old() -> float:
        return CHAT_POLLS.wait(age=600.0, left=None, chance=chance.random()) or 0.0

    waiters = [Waiter(world, old, first=chance.uniform(0, 10)) for _ in range(1_000)]
    world.run(400)
    lags = []
    for waiter in waiters:
        ended = EPOCH + chance.uniform(100, 350)
        lags.append(next(look for look in waiter.looks if look >= ended) - ended)
    interval = 1_000 / (50.0 * 0.975)
    assert sorted(lags)[989] <= interval + 0.3


def test_work_goes_before_waiting_and_in_its_order() -> None:
    world, order = Simulated(Pacer(10.0)), []
    for name in "ab":
        world.ask(lambda now, name=name: order.append(f"look {name}"))  # type: ignore[misc]
    for number in range(5):
        world.ask(lambda now, number=number: order.append(number), looks=False)  # type: ignore[misc]
    world.run(2)
    assert order == [0, 1, 2, 3, 4, "look a", "look b"]


def test_work_without_end_leaves_a_tenth_to_looks() -> None:
    world = Simulated(Pacer(20.0))
    waiters = crowd(world, 10, interval=1.0)

    def work(now: float) -> None:
        world.ask(work, looks=False)

    for _ in range(50):
        work(EPOCH)
    world.run(200)
    looks = sum(len(waiter.looks) for waiter in waiters)
    assert looks == pytest.approx(len(world.went) / 10, rel=0.05)


def test_a_last_moment_is_met_whatever_waits() -> None:
    world = Simulated(Pacer(20.0), late())
    crowd(world, 2_000, interval=10.0)  # each is asked about every 100 s
    for _ in range(200):
        world.ask(lambda now: None, looks=False)
    seen: list[tuple[float, float]] = []
    for number in range(100):
        deadline = 3.0 + number
        world.ask(lambda now, at=deadline: seen.append((at, now - EPOCH)), after=2.5, by=deadline)  # type: ignore[misc]
    world.run(600)
    assert len(seen) == 100
    assert all(now <= at + 0.2 for at, now in seen)


def test_an_overload_halves_the_rate_once_and_it_recovers_by_itself() -> None:
    world = Simulated(Pacer(100.0))
    crowd(world, 4_000, interval=10.0)

    def overload() -> None:
        for _ in range(30):  # all that were under way
            world.pacer.too_fast(world.now)

    world.at(EPOCH + 100, overload)
    world.run(300)
    per_second = [
        sum(1 for moment in world.went if start <= moment - EPOCH < start + 5) / 5 for start in (90, 101, 130, 170)
    ]
    assert per_second[0] == pytest.approx(97, abs=2)
    assert per_second[1] == pytest.approx(50, abs=4)
    assert 60 < per_second[2] < 85
    assert per_second[3] == pytest.approx(97, abs=2)


def test_whoever_has_no_limit_gets_one_when_coze_complains_and_loses_it_again() -> None:
    world = Simulated(Pacer(None), late())
    crowd(world, 1_000, interval=10.0)
    world.at(EPOCH + 60, lambda: world.pacer.too_fast(world.now))
    world.run(61)
    assert world.pacer.rate(world.now) == pytest.approx(60, abs=20)  # half of what went in the fullest second
    world.run(300)
    assert world.pacer.rate(world.now) is None
    assert world.most_in_a_second() < 160


@long
def test_a_server_that_allows_less_than_we_think_is_found_out() -> None:
    """It answers 429 to whatever is over 30 a second, and the budget says 100."""
    world = Simulated(Pacer(100.0), late())
    refused: list[float] = []

    def seen(now: float) -> None:
        recent = sum(1 for moment in reversed(world.went[-200:]) if moment > now - 1.0)
        if recent > 30:
            refused.append(now)
            world.pacer.too_fast(now)
        world.at(now + 0.1, lambda: world.ask(seen, 5.0) and None)

    for number in range(1_000):
        world.ask(seen, after=number / 200)
    world.run(1_200)
    taken = len(world.went) - len(refused)
    assert len(refused) < 0.05 * len(world.went)
    assert taken > 0.6 * 30 * 1_200


def test_a_retry_after_is_waited_out_by_all() -> None:
    world = Simulated(Pacer(20.0))
    crowd(world, 100, interval=2.0)
    world.at(EPOCH + 30, lambda: world.pacer.too_fast(world.now, retry_after=7.0))
    world.run(60)
    assert not [moment for moment in world.went if EPOCH + 30 < moment < EPOCH + 37]
    assert [moment for moment in world.went if EPOCH + 37 <= moment < EPOCH + 38]


def test_a_gateway_that_asks_for_an_hour_gets_a_minute() -> None:
    pacer = Pacer(None)
    pacer.too_fast(EPOCH, retry_after=3_600.0)
    pacer.join(EPOCH)
    assert pacer.wake(EPOCH) == EPOCH + 60


def test_whoever_leaves_takes_no_slot_and_no_place() -> None:
    pacer = Pacer(10.0)
    tickets = [pacer.join(EPOCH, after=number % 3, looks=number % 2 == 0, by=100) for number in range(3_000)]
    for ticket in tickets[:-1]:
        pacer.leave(ticket)
        pacer.leave(ticket)
    assert pacer.waiting == 1
    assert len(pacer._sleeping) + len(pacer._looks) + len(pacer._work) + len(pacer._last) < 200
    assert pacer.pop(EPOCH + 5) is tickets[-1]
    assert pacer.pop(EPOCH + 6) is None
    assert pacer.wake(EPOCH + 6) is None
    assert pacer.waiting == 0


def test_last_moments_that_are_far_away_pile_up_nowhere() -> None:
    world = Simulated(Pacer(20.0))
    for number in range(100):
        Waiter(world, 1.0, first=number / 100, by=86_400.0)
    world.run(600)
    assert len(world.pacer._last) < 400


def test_a_look_is_never_earlier_than_it_was_asked_for() -> None:
    world, chance = Simulated(Pacer(20.0), late()), chances(9)
    waiters = [Waiter(world, chance.choice([1.0, 3.0, 10.0]), first=0.0) for _ in range(300)]
    world.at(EPOCH + 60, lambda: world.pacer.allow(1_000.0))  # what had piled up is let go at once
    world.run(120)
    assert all(gap >= waiter.interval() - 1e-5 for waiter in waiters for gap in waiter.gaps())


def test_who_was_held_back_and_for_how_long_is_counted() -> None:
    world = Simulated(Pacer(2.0))
    for _ in range(3):
        world.ask(lambda now: None, looks=False)
    world.run(5)
    assert world.pacer.passed == 3
    assert world.pacer.held_seconds == pytest.approx(3 / (2 * 0.975), abs=0.05)
