"""The launches of one training: when each began, where, and how it ended.

segments.jsonl in the checkpoint folder has a line for each begin and each end. A launch without an
end was killed.
"""

import contextlib
import itertools
import json
import os
import socket
from datetime import datetime
from pathlib import Path
from typing import Any

from toolgain.common.files import now, read_text
from toolgain.training.store import curves

FILE = "segments.jsonl"

PROCESSES = "processes.json"
"""In a launch's log folder: its world_size, hosts, gpus and versions, once all ranks are there."""


def begin(folder: Path, launch: Path, saved: datetime | None = None) -> None:
    """Note that `launch` begins, and when the checkpoint was saved that it resumes from."""
    _append(
        folder,
        {
            "event": "begin",
            "launch": launch.name,
            "time": now(),
            "saved": saved and saved.isoformat(timespec="seconds"),
            "host": socket.gethostname(),
            "slurm_job_id": os.environ.get("SLURM_JOB_ID"),
        },
    )


def end(folder: Path, launch: Path, how: str, **facts: Any) -> None:
    """Note that `launch` ended: `finished`, `failed`, or why it was asked to stop."""
    _append(folder, {"event": "end", "launch": launch.name, "time": now(), "end": how, **facts})


def read_segments(folder: Path) -> list[dict[str, Any]]:
    """One entry per launch, first to last: started, finished, host, slurm_job_id, first_step,
    last_step, end, lost_s, what its processes were, and what was noted with the end."""
    saved: dict[str, str | None] = {}
    launches: dict[str, dict[str, Any]] = {}
    for event in _events(folder / FILE):
        if event["event"] == "begin":
            saved[event["launch"]] = event.get("saved")
            launches[event["launch"]] = {
                "started": event["time"],
                "finished": None,
                "host": event["host"],
                "slurm_job_id": event["slurm_job_id"],
                "first_step": None,
                "last_step": None,
                "end": "killed",
            }
        elif event["launch"] in launches:
            facts = {k: v for k, v in event.items() if k not in ("event", "launch", "time")}
            launches[event["launch"]] |= {"finished": event["time"], **facts}
    for name, entry in launches.items():
        with contextlib.suppress(OSError, ValueError):
            # A launch that was killed or failed took part all the same.
            there = json.loads(read_text(folder / "logs" / name / PROCESSES))
            entry.update(there | entry)
        steps = [
            step
            for step, _ in curves.read_curves(folder / "logs" / name).get(curves.REWARD, [])
            if step
        ]
        if steps:
            entry["first_step"], entry["last_step"] = min(steps), max(steps)
        if entry["finished"] is None:
            entry["finished"] = _last_sign(folder / "logs" / name)
    for (_, entry), (following, _) in itertools.pairwise(launches.items()):
        if "lost_s" not in entry:
            # Killed or failed: it could not say itself what the next one did again.
            entry["lost_s"] = _between(
                max(filter(None, (entry["started"], saved[following]))), entry["finished"]
            )
    return list(launches.values())


def slurm_jobs(folder: Path) -> list[str]:
    """Every Slurm job that began a launch, first to last.

    These can be more than `read` tells of: NeMo RL makes a launch's folder only once its driver
    runs, so that a launch that failed before gives its name to the next.
    """
    begun = [event for event in _events(folder / FILE) if event["event"] == "begin"]
    return list(dict.fromkeys(job for event in begun if (job := event["slurm_job_id"])))


def launch_seconds(entry: dict[str, Any]) -> float:
    """How long a launch ran."""
    return _between(entry["started"], entry["finished"])


def _between(begun: str, ended: str | None) -> float:
    """Seconds from one moment to the other; 0 where the second is not known or earlier."""
    if not ended:
        return 0.0
    apart = datetime.fromisoformat(ended) - datetime.fromisoformat(begun)
    return max(0.0, apart.total_seconds())


def _last_sign(launch: Path) -> str | None:
    """When a killed launch last wrote anything."""
    times = [path.stat().st_mtime for path in launch.rglob("*") if path.is_file()]
    if not times:
        return None
    zone = datetime.fromisoformat(now()).tzinfo
    return datetime.fromtimestamp(max(times), zone).isoformat(timespec="seconds")


def _append(folder: Path, event: dict[str, Any]) -> None:
    with (folder / FILE).open("a", encoding="utf-8") as file:
        file.write(json.dumps(event) + "\n")


def _events(path: Path) -> list[dict[str, Any]]:
    events = []
    try:
        lines = read_text(path).splitlines()
    except FileNotFoundError:
        return []
    for line in lines:
        try:
            events.append(json.loads(line))
        except ValueError:
            # The last line of a killed writer.
            continue
    return events
