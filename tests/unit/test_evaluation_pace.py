"""How fast requests go to a server with a rate limit."""

import heapq
import math
import random
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from toolgain.common.errors import UserError
from toolgain.config.sections import EvaluationSection, parse_section
from toolgain.evaluation import job as evaluation_job
from toolgain.evaluation.pace import TAKEN_AFTER_S, Pace, PaceRules
from toolgain.rehearsal import inputs as rehearsed
from toolgain.rehearsal.inputs import Given


def test_refusal_halves_what_is_under_way_once() -> None:
    pace = Pace(16)
    started = time.monotonic()
    for _ in range(10):
        pace.refused(started, 0.0)
    assert pace.limit == 8, "ten refusals of requests that started together are one piece of news"
    pace.refused(time.monotonic() + 1, 0.0)
    assert pace.limit == 4


def test_answers_raise_the_limit_one_by_one() -> None:
    pace = Pace(3)
    for step in range(1, 5):
        pace.refused(time.monotonic() + step, 0.0)
    assert pace.limit == 1
    pace.answered()
    assert pace.limit == 2
    for _ in range(20):
        pace.answered()
    assert pace.limit == 3, "never above what was configured"


@pytest.mark.parametrize("asked_for", [0.0, 0.001])
def test_who_asks_for_no_wait_and_refuses_on_is_asked_less_and_less_often(
    asked_for: float,
) -> None:
    rules = PaceRules(1, lambda least, most: least)
    waits = []
    for now in range(0, 3000, 100):
        assert rules.start(now)
        rules.end(now)
        rules.refused(now, now, asked_for)
        waits.append(rules.wait_s(now))
    assert waits == sorted(waits)
    assert asked_for < waits[0] < waits[-1]


class Window:
    """Allows so many requests a minute: in any minute, or in each of the clock's."""

    def __init__(self, fixed: bool) -> None:
        self.fixed = fixed
        self.starts: list[float] = []

    def wait_s(self, now: float) -> float | None:
        """None for a request that is taken, else seconds until one would be."""
        over = now // 60 * 60 if self.fixed else now - 60
        self.starts = [start for start in self.starts if start >= over]
        if len(self.starts) < 30:
            self.starts.append(now)
            return None
        return (over + 60 if self.fixed else self.starts[0] + 60) - now

    def least_s(self, requests: int) -> float:
        return (requests - 1) // 30 * 60


class Bucket:
    """Gets a token every two seconds, and holds so many."""

    def __init__(self, size: int) -> None:
        self.size, self.tokens, self.at = size, float(size), 0.0

    def wait_s(self, now: float) -> float | None:
        self.tokens, self.at = min(self.size, self.tokens + (now - self.at) / 2), now
        if self.tokens < 1 - 1e-9:
            return (1 - self.tokens) * 2
        self.tokens -= 1
        return None

    def least_s(self, requests: int) -> float:
        return (requests - self.size) * 2


LIMITS: dict[str, Callable[[], Window | Bucket]] = {
    "any minute": lambda: Window(fixed=False),
    "each minute": lambda: Window(fixed=True),
    "bucket of 5": lambda: Bucket(5),
    "bucket of 1": lambda: Bucket(1),
}
SAYS: dict[str, Callable[[float], float | None]] = {
    "whole seconds": lambda wait: float(math.ceil(wait)),
    "exactly": lambda wait: wait,
    "no wait": lambda wait: 0.0,
    "nothing": lambda wait: None,
}


def simulate(
    limit: Window | Bucket, says: Callable[[float], float | None], latency_s: float, seed: int
) -> tuple[float, int]:
    """Ask 270 questions, as 136 items have them, with eight threads and a clock of its own.

    Returns:
        The time, as a share of the limit's own, and the number of refusals.
    """
    draw = random.Random(seed)
    rules = PaceRules(8, draw.uniform)
    now, left, refusals = 0.0, 270, 0
    under_way: list[tuple[float, float, float | None]] = []
    while left or under_way:
        while left and rules.start(now):
            left -= 1
            wait = limit.wait_s(now)
            takes = latency_s * draw.uniform(0.5, 1.5) if wait is None else 0.05
            heapq.heappush(under_way, (now + takes, now, wait))
        events = [under_way[0][0]] if under_way else []
        if left and len(under_way) < 8 and rules.wait_s(now) > 0:
            events.append(now + rules.wait_s(now))
        now = min(events)
        while under_way and under_way[0][0] <= now:
            _, started, wait = heapq.heappop(under_way)
            rules.end(started)
            if wait is None:
                rules.answered()
            else:
                refusals += 1
                left += 1
                rules.refused(started, now, says(wait))
    return now / limit.least_s(270), refusals


@pytest.mark.parametrize("latency_s", [0.5, 3.0, 10.0])
@pytest.mark.parametrize("says", SAYS)
@pytest.mark.parametrize("limit", LIMITS)
def test_thirty_requests_a_minute_take_little_more_than_the_limits_own_time(
    limit: str, says: str, latency_s: float
) -> None:
    found = [simulate(LIMITS[limit](), SAYS[says], latency_s, seed) for seed in range(3)]
    # Who allows a request every two seconds, and never says so, has to be found out.
    most = 1.2 if says in ("whole seconds", "exactly") or limit != "bucket of 1" else 1.4
    assert max(took for took, _ in found) <= most
    # One refusal for an answer, or one a second while nothing says for how long.
    many = 300 if says in ("whole seconds", "exactly") else 1000
    assert max(refusals for _, refusals in found) <= many


def test_slow_answers_keep_nobody_from_starting() -> None:
    rules = PaceRules(8, lambda least, most: least)
    assert rules.start(0.0)
    rules.end(0.0)
    for step in range(4):
        rules.refused(step, step, 0.0)
    assert rules.limit == 1
    now = 100.0
    for _ in range(8):
        assert rules.start(now)
        assert not rules.start(now), "until it is taken"
        now += TAKEN_AFTER_S
    assert not rules.start(now), "never more than was configured"


def test_threads_share_what_is_allowed() -> None:
    """Windows of 0.5 s with 10 requests each, asked by 40 threads at once."""
    window_s, allowed, wanted = 0.5, 10, 40
    lock = threading.Lock()
    windows: dict[int, int] = {}
    answered, refused = [], []
    begin = time.monotonic()
    pace = Pace(8)

    def ask() -> None:
        while True:
            with pace.turn() as started:
                now = time.monotonic() - begin
                with lock:
                    number = int(now / window_s)
                    windows[number] = windows.get(number, 0) + 1
                    taken = windows[number] <= allowed
                if taken:
                    pace.answered()
                    answered.append(now)
                    return
                refused.append(now)
                pace.refused(started, (number + 1) * window_s - now)

    threads = [threading.Thread(target=ask) for _ in range(wanted)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answered) == wanted
    assert max(windows.values()) <= allowed + 8, "at most what was under way is refused together"
    assert len(refused) <= 8 * len(windows)


@pytest.mark.parametrize(
    "url",
    [
        "https://me:secret@h/v1",
        "https://secret@h/v1",
        "https://h/v1?api_key=secret",
        "https://h/v1?access-token=secret",
        "https://h/v1?password=secret",
    ],
)
def test_key_in_the_url_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(UserError, match=r"evaluation\.serve\.api_key_env") as error:
        parse_section(EvaluationSection, {"serve": {"backend": "endpoint", "url": url}}, "x")
    assert "secret" not in str(error.value)


def test_key_in_the_url_is_refused_wherever_an_endpoint_is_named(tmp_path: Path) -> None:
    url = "https://me:secret@h/v1"
    config = tmp_path / "config.json"
    config.write_text("{}")
    refused: list[Callable[[], object]] = [
        lambda: evaluation_job.evaluation_section(None, url, None, 1),
        lambda: rehearsed.read_inputs(
            Given(config=tmp_path / "config.json", endpoint=url, model="m")
        ),
    ]
    for read in refused:
        with pytest.raises(UserError, match=r"evaluation\.serve\.api_key_env") as error:
            read()
        assert "secret" not in str(error.value)


def test_plain_url_is_taken() -> None:
    serve = {"backend": "endpoint", "url": "https://h/v1/{subject}?version=2"}
    assert parse_section(EvaluationSection, {"serve": serve}, "x").serve.url == serve["url"]
