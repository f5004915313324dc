"""How fast a server that refuses haste is asked."""

import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from toolgain.common.errors import UserError
from toolgain.config.sections import EvaluationSection, parse_section
from toolgain.evaluation import job as evaluation_job
from toolgain.evaluation.pace import Pace
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


def test_who_asks_for_no_wait_and_refuses_on_is_asked_less_and_less_often() -> None:
    pace, before = Pace(1), time.monotonic()
    for step in range(3):
        pace.refused(time.monotonic() + step, 0.0)
    with pace.turn() as started:
        # A tenth of half of the third wait of our own, at least.
        assert started - before >= 0.1 * 0.5 * 4


def test_endpoint_with_a_limit_is_asked_as_fast_as_it_allows_and_no_faster() -> None:
    """Windows of 0.5 s with 10 requests each: of 40 answers, few more were refused than waits."""
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
    (tmp_path / "config.json").write_text("{}")
    refused: list[Callable[[], object]] = [
        lambda: evaluation_job.evaluation_section(None, url, None, 1),
        lambda: rehearsed.read(Given(config=tmp_path / "config.json", endpoint=url, model="m")),
    ]
    for read in refused:
        with pytest.raises(UserError, match=r"evaluation\.serve\.api_key_env") as error:
            read()
        assert "secret" not in str(error.value)


def test_plain_url_is_taken() -> None:
    serve = {"backend": "endpoint", "url": "https://h/v1/{subject}?version=2"}
    assert parse_section(EvaluationSection, {"serve": serve}, "x").serve.url == serve["url"]
