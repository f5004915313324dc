"""Watching a NeMo RL training: what its logs and curves say while it runs.

Upstream survives things that make a training run worthless (a failed rollout hides in the mean, an
empty batch ends an epoch early, a dead server of Gym's holds the GPUs until the time limit).
Each becomes a finding, and those that only burn GPUs end the training.
"""

import itertools
import math
import re
import statistics
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from toolgain.common.files import opened
from toolgain.records.training import Sign
from toolgain.training.store.curves import EventFile, Written

REWARD = "train/reward"
ACCURACY = "validation/accuracy"
LOSS = "train/loss"
VALID_SAMPLES = "train/global_valid_seqs"

TITLES = {
    "out_of_memory": "No out-of-memory in any log",
    "zero_reward": "Rewards are not exactly zero for several steps",
    "hang": "No step took far longer than the others",
    "empty_batch": "No batch was empty",
    "nan": "Loss, reward and accuracy are numbers",
    "failed_rollouts": "Few rollouts failed",
    "fresh_optimizer": "The optimizer's state was resumed",
}
FINE = {
    "out_of_memory": "No line of the driver's, head's and workers' logs says so.",
    "zero_reward": "Never for so many steps in a row.",
    "hang": "None had to be ended.",
    "empty_batch": "Every step had valid samples.",
    "nan": "All that were logged are.",
    "failed_rollouts": "No more than a hundredth of them, by the lines of the logs.",
    "fresh_optimizer": "No line of the logs says that it was made afresh.",
}
ADVICE = {
    "out_of_memory": "Lower gpu_memory_utilization, micro_batch_size or "
    "max_total_sequence_length; for host memory ask for more with the job.",
    "zero_reward": "With the environment alive this means tool calls that arrive as text (tool "
    "parser or chat template), answers cut off or prompts beyond max_total_sequence_length, or a "
    "model too weak for the tasks; `HTTP 500` in ray-driver.log means that the environment fails.",
    "hang": "Look at the last lines of ray-driver.log and ray-worker-*.log: where a server of NeMo "
    "Gym's or the model's died, its rollouts wait forever.",
    "empty_batch": "Look for `HTTP 500` and the environment's error in ray-driver.log.",
    "nan": "Lower the learning rate; look at the step before in the curves.",
    "failed_rollouts": "A failed rollout counts as reward 0 and hides in the mean: NeMo Gym's "
    "environments may be missing on some nodes (they are made at start from a package index, NeMo "
    "RL pull request 3409); look at the lines of ray-driver.log.",
    "fresh_optimizer": "The checkpoint holds no optimizer state that NeMo RL finds (v0.7.0 looks "
    "for weights/iter_0000000/common.pt): remove that step's folder to resume from the one before.",
}

_OUT_OF_MEMORY = re.compile(
    r"CUDA out of memory|OutOfMemoryError|oom[-_ ]kill|Out of memory: Killed|CUDA error: out of "
    r"memory|exceeds the memory usage threshold|std::bad_alloc",
    re.I,
)
# An access line of Gym's servers (RL's log shows them), what NeMo RL and Gym say of a `/run` that
# failed, and of rollouts that were filled up.
_FAILED_ROLLOUT = re.compile(
    r"\bHTTP 5\d\d\b|\bHTTP/1\.\d\" 5\d\d\b|/run failed status=5\d\d"
    r"|Hit a non-successful response when querying NeMo Gym|back-?fill.*\brollout",
    re.I,
)
FAILED_SHARE = 0.01
"""Share of failed rollouts from which on they are an alarm."""
_FRESH_OPTIMIZER = "Optimizer will be freshly initialized"
_TIMEOUT = "Timeout has been reached, stopping training early"
_EARLY_STOP = "reached the early-stop threshold"
# A server of one's own need not have `wandb` in its name.
_WANDB_URL = re.compile(r"View run\b.*?(https?://\S+/runs/[\w-]+)")


def _quoted(path: Path, line: str, at: int) -> str:
    """A line with its file; of a long one, the 200 characters around what was found at `at`."""
    begin = max(0, at - 100) if len(line) > 200 else 0
    return f"{path.name}: {line[begin : begin + 200].strip()}"


@dataclass
class Logs:
    """What the logs of one launch said so far; each file is read on from where it was left."""

    out_of_memory: str | None = None
    """First line that says so, with its file."""
    timed_out: bool = False
    stopped_early: bool = False
    wandb_url: str | None = None
    failed_rollouts: int = 0
    """Lines of the driver's log that tell of one."""
    fresh_optimizer: str | None = None
    """The line that says so, with its file."""
    _offsets: dict[Path, int] = field(default_factory=dict)

    def read(self, paths: Iterable[Path]) -> None:
        """Read what was added to `paths` since the last time."""
        for path in paths:
            try:
                with opened(path, limit=None) as file:
                    file.seek(self._offsets.get(path, 0))
                    data = file.read()
            except OSError:
                continue
            # A line that is still being written waits for the next time.
            whole, _, _ = data.rpartition(b"\n")
            if not whole:
                continue
            self._offsets[path] = self._offsets.get(path, 0) + len(whole) + 1
            for line in whole.decode("utf-8", errors="replace").splitlines():
                self._line(path, line)

    def _line(self, path: Path, line: str) -> None:
        if path.name == "ray.sub.log" and line.startswith("+"):
            return  # the trace of ray.sub itself, which repeats COMMAND
        if self.out_of_memory is None and (memory := _OUT_OF_MEMORY.search(line)):
            self.out_of_memory = _quoted(path, line, memory.start())
        if path.name == "ray-driver.log" and _FAILED_ROLLOUT.search(line):
            self.failed_rollouts += 1
        if self.fresh_optimizer is None and _FRESH_OPTIMIZER in line:
            self.fresh_optimizer = _quoted(path, line, line.index(_FRESH_OPTIMIZER))
        if _TIMEOUT in line:
            self.timed_out = True
        if _EARLY_STOP in line:
            self.stopped_early = True
        found = _WANDB_URL.search(line)
        if found:
            self.wandb_url = found[1]


@dataclass(frozen=True)
class Point:
    """One value of a curve."""

    step: int
    value: float
    wall: float
    """Seconds since the epoch."""


class Curves:
    """The TensorBoard curves of all launches of a training run, read on as they grow.

    `<folder>/exp_NNN/tensorboard/events*`; at an equal step the later launch counts.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.points: dict[str, dict[int, tuple[int, Point]]] = {}
        self._files: dict[Path, EventFile] = {}

    def read(self) -> None:
        """Read what was added since the last time."""
        for path in sorted(self.folder.glob("exp_*/**/events.out.tfevents*")):
            if path not in self._files:
                self._files[path] = EventFile(path)
            launch = _launch_number(path.relative_to(self.folder).parts[0])
            try:
                for written in self._files[path].new():
                    self._take(launch, written)
            except Exception:  # a record cut off by a kill ends this file
                continue

    def _take(self, launch: int, written: Written) -> None:
        curve = self.points.setdefault(written.tag, {})
        known = curve.get(written.step)
        if known is None or known[0] <= launch:
            curve[written.step] = (launch, Point(written.step, written.value, written.wall))

    def curve(self, tag: str) -> list[Point]:
        """The points of a curve by rising step."""
        return [entry[1] for _, entry in sorted(self.points.get(tag, {}).items())]

    def since(self, tag: str, start: float) -> list[Point]:
        """The points that were written after `start` (seconds since the epoch)."""
        return [point for point in self.curve(tag) if point.wall >= start]

    def last(self, tag: str) -> Point | None:
        """The newest point of a curve."""
        points = self.curve(tag)
        return points[-1] if points else None

    def step_times(self) -> list[float]:
        """Seconds of each step: between two rewards of the same launch."""
        entries = sorted(self.points.get(REWARD, {}).items())
        return [
            after[1].wall - before[1].wall
            for (step, before), (following, after) in itertools.pairwise(entries)
            if before[0] == after[0] and following == step + 1
        ]


def _launch_number(name: str) -> int:
    digits = name.removeprefix("exp_")
    return int(digits) if digits.isdigit() else 0


@dataclass(frozen=True)
class WatchLimits:
    """When a watched training is ended."""

    zero_reward_steps: int
    hang_factor: float
    setup_s: float
    """Longest time to the first step."""
    save_s: float
    """A step may take as long as a save besides its own time."""
    planned: int
    """The last step; after it the end may take as long as the start."""
    step_s: float = math.inf
    """Estimate of one step, for as long as fewer than two were timed."""
    rollouts: int = 1
    """Rollouts of one step."""
    resumed: bool = False
    """Whether this launch started from a checkpoint."""


@dataclass(frozen=True)
class Alarm:
    """A finding; a fatal one ends the training."""

    name: str
    evidence: str
    fatal: bool


def alarms(
    curves: Curves, logs: Logs, limits: WatchLimits, started: float, now: float | None = None
) -> list[Alarm]:
    """What is wrong with a running training. Only what this launch wrote counts.

    Args:
        curves: Its curves so far.
        logs: Its logs so far.
        limits: When it is ended.
        started: Start of this launch, in seconds since the epoch.
        now: The present; default: the clock.
    """
    present = time.time() if now is None else now
    found = []
    if logs.out_of_memory:
        found.append(Alarm("out_of_memory", logs.out_of_memory, fatal=False))
    rewards = curves.since(REWARD, started)
    last = rewards[-limits.zero_reward_steps :]
    if len(last) == limits.zero_reward_steps and all(point.value == 0.0 for point in last):
        steps = f"steps {last[0].step} to {last[-1].step}"
        found.append(Alarm("zero_reward", f"train/reward is exactly 0 in {steps}", fatal=True))
    for tag in (LOSS, REWARD, ACCURACY):
        points = curves.since(tag, started)
        bad = next((point for point in points if not math.isfinite(point.value)), None)
        if bad:
            fatal = tag != ACCURACY
            found.append(Alarm("nan", f"{tag} is {bad.value} in step {bad.step}", fatal=fatal))
            break
    valid = curves.since(VALID_SAMPLES, started)
    empty = next((point for point in valid if point.value == 0), None)
    if empty:
        found.append(Alarm("empty_batch", f"step {empty.step} had no valid sample", fatal=True))
    played = limits.rollouts * (len(rewards) + 1)
    if logs.failed_rollouts > FAILED_SHARE * played:
        text = f"{logs.failed_rollouts} lines tell of failed rollouts, of some {played} rollouts"
        found.append(Alarm("failed_rollouts", text, fatal=False))
    if limits.resumed and logs.fresh_optimizer:
        found.append(Alarm("fresh_optimizer", logs.fresh_optimizer, fatal=True))
    found += _hang(curves, limits, started, present)
    return found


def _hang(curves: Curves, limits: WatchLimits, started: float, now: float) -> list[Alarm]:
    times = curves.step_times()
    latest = max(
        (point.wall for tag in (REWARD, ACCURACY) for point in curves.curve(tag)), default=0.0
    )
    here = curves.since(REWARD, started)
    if not here:
        allowed = 2 * limits.setup_s + limits.save_s
        waited = now - max(started, latest)
        if waited > allowed:
            text = f"no step for {waited:.0f} s after the start; allowed: {allowed:.0f} s"
            return [Alarm("hang", text, fatal=True)]
        return []
    if len(times) < 2:
        # Too few steps for a median: the configured estimates, and what the first steps compile.
        allowed = limits.setup_s + 2 * limits.step_s + limits.save_s
        waited = now - max(started, latest)
        if waited > allowed:
            text = (
                f"nothing for {waited:.0f} s after step {here[-1].step}; allowed before a third "
                f"step: {allowed:.0f} s (start, two steps and a save as configured)"
            )
            return [Alarm("hang", text, fatal=True)]
        return []
    median = statistics.median(times)
    allowed = max(limits.hang_factor * median, limits.save_s)
    if here[-1].step >= limits.planned:
        allowed = max(allowed, limits.setup_s)
    waited = now - max(started, latest)
    if waited > allowed:
        text = (
            f"nothing for {waited:.0f} s after step {here[-1].step}; the median step took "
            f"{median:.1f} s, allowed: {allowed:.0f} s"
        )
        return [Alarm("hang", text, fatal=True)]
    return []


def health(found: Iterable[Alarm]) -> list[Sign]:
    """The health entries of a manifest: every kind, passed or not."""
    by_name: Mapping[str, Alarm] = {alarm.name: alarm for alarm in reversed(list(found))}
    entries: list[Sign] = []
    for name, title in TITLES.items():
        alarm = by_name.get(name)
        evidence = FINE[name] if alarm is None else f"{alarm.evidence.rstrip('.')}. {ADVICE[name]}"
        entries.append(
            {"name": name, "title": title, "passed": alarm is None, "evidence": evidence}
        )
    return entries
