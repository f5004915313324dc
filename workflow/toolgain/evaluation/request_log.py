"""What the server saw: match the recorded requests with the rows that the harness wrote.

A request does not say which item it belongs to, and a row does not say why an answer ended. Both
lead to what the conversation asks, the functions offered, the answer and the token counts, which
is enough: requests that agree in all of these are interchangeable.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import JsonValue

from toolgain.bfcl.categories import group_of
from toolgain.bfcl.data import Item, Items, Key
from toolgain.bfcl.responses import HISTORY_REFUSED
from toolgain.bfcl.results import Row, ServerSide, answers, is_error
from toolgain.bfcl.toolcalls import questions, tool_names
from toolgain.common.files import digest, opened_text

_CUT = frozenset({"length", "content_filter"})
CUT_FROM, CUT_PROMPTS, CUT_RANGE = 512, 10, 1.2
"""Prompts are cut where so many, of lengths so far apart, count as one number of tokens, which no
other prompt exceeds; below the first number it is no limit that a server has."""
Recorded = dict[str, Any]
"""A line of the record; see `interceptor`."""
Step = tuple[str, int, Any, int, int]
"""Digest of the questions, the turn, and an answer with its prompt and completion tokens."""


@dataclass(frozen=True)
class MatchedRequests:
    """The record of the requests, put beside the rows."""

    seen: dict[Key, ServerSide]
    used: set[str]
    """Numbers of the recorded requests whose answers are in rows."""
    requests: int
    retried: int
    """Requests that needed more than one attempt."""
    failures: dict[str, int] = field(default_factory=dict)
    """Failed attempts by kind."""
    normalised: dict[str, int] = field(default_factory=dict)
    """Requests whose answer or conversation was brought into another form, by kind."""
    unasked: set[Key] = field(default_factory=set)
    """Items whose row holds an answer that the server never gave."""
    rescored: list[str] = field(default_factory=list)
    """Items whose second score is another one."""
    uneven: list[str] = field(default_factory=list)
    """Score files that do not agree with their own counts."""
    models: dict[str, int] = field(default_factory=dict)
    """Answers by the name that the server gives to its model."""
    cached: int = 0
    """Answers that a gateway kept from before, by its own word."""
    cut_prompts: tuple[int, int] | None = None
    """Prompts that the server seems to have cut, and the tokens that each counts."""
    taken: frozenset[str] = frozenset()
    """What conversations held of earlier answers that the server took, by `kind_of_history`."""
    refused: dict[str, int] = field(default_factory=dict)
    """Conversations that it refused for what the model wrote, by the same."""
    calls: int = 0
    """Calls in all answers."""
    foreign: int = 0
    """Those of them that name no function that was offered."""
    code: int = 0
    """Those that Python finds something of its own to run for."""
    sampling: list[dict[str, JsonValue]] = field(default_factory=list)
    """The different samplings that the server received; more than one is a mistake."""


def read_lines(path: Path) -> list[Recorded]:
    """The rows of a file that grows by whole lines; a last line that a kill cut is left out."""
    if not path.exists():
        return []
    rows = []
    # Our own, and of whatever size the answers have.
    with opened_text(path, limit=None, newline="\n", errors="replace") as file:
        for line in file:
            try:
                row = json.loads(line)
            except ValueError:
                continue
            if isinstance(row, dict):
                rows.append(row)
    return rows


def match_requests(
    requests: list[Recorded], rows: dict[str, list[Row]], items: Items, retried: set[Key]
) -> MatchedRequests:
    """Match recorded `requests` with the `rows` of each category.

    Args:
        retried: items whose failed rows were taken out and retried.
    """
    waiting: dict[tuple[str, str, str, int, int], list[Recorded]] = defaultdict(list)
    for request in requests:
        if request["kind"] == "ok":
            waiting[_key(request)].append(request)
    seen: dict[Key, ServerSide] = {}
    used: set[str] = set()
    unasked: set[Key] = set()
    for category, chosen in items.items():
        for item, row in answers(rows.get(category, []), chosen):
            if is_error(row):
                continue
            found, steps = [], 0
            for said, turn, answer, prompt, completion in _steps(item, row):
                offered = digest(tool_names(item.functions_at(turn)))
                key = (said, offered, digest(answer), prompt, completion)
                candidates = waiting.get(key)
                steps += 1
                if candidates:
                    found.append(candidates.pop())
            if len(found) < steps:
                unasked.add(item.key)
            used.update(request["number"] for request in found)
            reasons = [str(request.get("finish_reason") or "") for request in found]
            asked_twice = any(len(request["attempts"]) > 1 for request in found)
            seen[item.key] = ServerSide(
                finish_reason=reasons[-1] if reasons else "",
                # A filter cuts an answer as a limit does.
                truncated=not _CUT.isdisjoint(reasons),
                retried=asked_twice or item.key in retried,
                kinds=tuple(str(request.get("decoded")) for request in found)
                if len(found) == steps and all("decoded" in request for request in found)
                else (),
            )
    asked = [request for request in requests if request["attempts"]]
    normalised = Counter(kind for request in asked for kind in set(request.get("normalised", ())))
    failures: dict[str, int] = defaultdict(int)
    for request in asked:
        for attempt in request["attempts"]:
            if attempt["kind"] != "ok":
                failures[attempt["kind"]] += 1
    # An answer that was replayed is recorded again, under the number that it had.
    first: dict[str, Recorded] = {}
    for request in requests:
        if request["kind"] == "ok":
            first.setdefault(request["number"], request)
    answered = list(first.values())
    models = Counter(str(request["model"]) for request in answered if request.get("model"))
    return MatchedRequests(
        models=dict(sorted(models.items())),
        cached=sum(bool(request.get("cached")) for request in answered),
        cut_prompts=_cut_prompts(answered),
        taken=frozenset(str(request.get("history") or "") for request in answered),
        refused=Counter(
            str(request.get("history") or "")
            for request in requests
            if request["kind"] == HISTORY_REFUSED
        ),
        calls=sum(request.get("calls", 0) for request in answered),
        foreign=sum(request.get("foreign", 0) for request in answered),
        code=sum(request.get("code", 0) for request in answered),
        seen=seen,
        used=used,
        requests=len(asked),
        retried=sum(len(request["attempts"]) > 1 for request in asked),
        failures=dict(failures),
        normalised=dict(sorted(normalised.items())),
        unasked=unasked,
        sampling=_different(request["sampling"] for request in asked),
    )


def forgeries(seen: Iterable[MatchedRequests]) -> list[str]:
    """Why results cannot be the server's answers or the harness's scores; empty when they are."""
    unasked = [item_id for one in seen for _, item_id, _ in sorted(one.unasked)]
    rescored = [item_id for one in seen for item_id in one.rescored]
    return [
        f"{len(ids)} {what} (such as {ids[0]}); something that the harness evaluated wrote them"
        for ids, what in (
            (unasked, "result rows hold answers that the server never gave"),
            (rescored, "scores are others when the same rows are scored again"),
        )
        if ids
    ]


def contradictions(seen: Iterable[MatchedRequests]) -> list[str]:
    """Why the record cannot be one of a single model and a whole scoring; empty when it is."""
    found = [
        f"a score file does not agree with its own head ({one.uneven[0]})"
        for one in seen
        if one.uneven
    ]
    cached = sum(one.cached for one in seen)
    if cached:
        found.append(
            f"{cached} answers came from a gateway's cache, as its headers say, and may be of "
            "other weights; switch the cache off"
        )
    if cut := next((one.cut_prompts for one in seen if one.cut_prompts), None):
        found.append(
            f"{cut[0]} prompts of different length count {cut[1]} tokens each, so the server seems "
            "to cut them; give it a longer context, or let it refuse what is longer"
        )
    models = sorted({name for one in seen for name in one.models})
    if len(models) > 1:
        found.append(
            f"the answers name several models ({', '.join(models)}); "
            "evaluate one at a time, without a fallback"
        )
    return found


def _cut_prompts(answered: list[Recorded]) -> tuple[int, int] | None:
    """How many different prompts count as many tokens as the longest, and how many that is."""
    sizes = {
        request["request"]: (int(request["prompt_tokens"]), int(request.get("size", 0)))
        for request in answered
    }
    most = max((tokens for tokens, _ in sizes.values()), default=0)
    longest = [size for tokens, size in sizes.values() if tokens == most]
    # A server that counts each prompt the same counts none.
    if most < CUT_FROM or not CUT_PROMPTS <= len(longest) < len(sizes) or not all(longest):
        return None
    return (len(longest), most) if max(longest) >= CUT_RANGE * min(longest) else None


def never_taken(seen: Iterable[MatchedRequests]) -> dict[str, int]:
    """Refused conversations by what they hold, where the server took none that holds the same."""
    every = list(seen)
    refused: Counter[str] = Counter()
    for one in every:
        refused.update(one.refused)
    taken = {kind for one in every for kind in one.taken}
    return {kind: n for kind, n in sorted(refused.items()) if kind not in taken}


def _key(request: Recorded) -> tuple[str, str, str, int, int]:
    return (
        request.get("questions", ""),
        request["tools"],
        request["answer"],
        int(request["prompt_tokens"]),
        int(request["completion_tokens"]),
    )


def _steps(item: Item, row: Row) -> Iterable[Step]:
    counts = row.get("input_token_count", 0), row.get("output_token_count", 0)
    if group_of(item.category) != "multi_turn":
        asked = digest(questions(item.question[0]))
        return [(asked, 0, row["result"], int(counts[0]), int(counts[1]))]
    steps: list[Step] = []
    for number, turn in enumerate(zip(row["result"], *counts, strict=True)):
        _, *said = questions(item.messages_until(number))
        for answer, prompt, completion in zip(*turn, strict=True):
            asked = digest([len(steps), *said])
            steps.append((asked, number, answer, int(prompt), int(completion)))
    return steps


def _different(samplings: Iterable[dict[str, JsonValue]]) -> list[dict[str, JsonValue]]:
    unique = {json.dumps(sampling, sort_keys=True): sampling for sampling in samplings}
    return [unique[key] for key in sorted(unique)]
