"""`toolgain evaluate` through the real harness, and what it left behind."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fault_server import FaultServer

from toolgain.bfcl.outcomes import ItemOutcome, read_items

ROOT = Path(__file__).parents[2]
TOOLGAIN = Path(sys.executable).with_name("toolgain")

# One item of each single-turn category and one scenario in the four multi-turn ones: 17 items.
SECTION: dict[str, Any] = {
    "subset": {"non_live": 1, "live": 1, "multi_turn": 1},
    "parallelism": 4,
    "retry": {
        "rounds": 2,
        "backoff_s": 0.5,
        "request_timeout_s": 6,
        "request_attempts": 2,
    },
}


@dataclass(frozen=True)
class Evaluation:
    """What `toolgain evaluate` left behind."""

    folder: Path
    exit_code: int
    stderr: str
    asked_twice: int
    """Questions that the server answered more than once. Not 0 even when nothing fails: the
    multi-turn items of a scenario open alike."""

    @property
    def summary(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.folder / "summary.json").read_text())
        return found

    @property
    def items(self) -> list[ItemOutcome]:
        return read_items(self.folder)

    @property
    def table(self) -> list[tuple[Any, ...]]:
        """items.csv without what may differ between two undisturbed runs."""
        return [
            (row.key, row.valid, row.strict_valid, row.error_type, row.answer, row.calls)
            for row in self.items
        ]


def command(url: str, out: Path, section: dict[str, Any], model: str = "policy") -> list[str]:
    """The command line of an evaluation."""
    config = out.with_suffix(".json")
    config.write_text(json.dumps({**SECTION, **section}))
    return [
        *(str(TOOLGAIN), "evaluate", "--endpoint", url, "--model", model),
        *("--config", str(config), "--out", str(out), "--bfcl-env", str(ROOT / ".venvs" / "bfcl")),
    ]


def as_user(user: int) -> list[str]:
    """What starts a command as another user, who may pass through root's folders to the programs
    that an evaluation needs, in a view of the file system of its own."""
    if user == os.geteuid():
        return []
    needed = {Path(sys.base_prefix), ROOT, (ROOT / ".venv"), (ROOT / ".venvs")}
    closed: dict[Path, set[Path]] = {}
    for path in (one.resolve() for one in needed):
        shut = [one for one in reversed(path.parents) if not one.stat().st_mode & 1]
        if shut:
            closed.setdefault(shut[0], set()).add(path)
    lines = []
    for folder, wanted in closed.items():
        lines.append('kept=$(mktemp -d); mount -t tmpfs -o mode=755 tmpfs "$kept"')
        for number, path in enumerate(sorted(wanted)):
            lines.append(f'mkdir "$kept/{number}"; mount --rbind {path} "$kept/{number}"')
        lines.append(f"mount -t tmpfs -o mode=755 tmpfs {folder}")
        for number, path in enumerate(sorted(wanted)):
            lines.append(f'mkdir -p {path}; mount --rbind "$kept/{number}" {path}')
    setpriv = f"setpriv --reuid={user} --regid={user} --clear-groups"
    script = "\n".join([*lines, f'exec {setpriv} "$@"'])
    return ["unshare", "--mount", "sh", "-ec", script, "sh"]


def evaluate(
    server: FaultServer,
    out: Path,
    model: str = "policy",
    arguments: tuple[str, ...] = (),
    user: int | None = None,
    **section: Any,
) -> Evaluation:
    """Run `toolgain evaluate` against `server`, as another `user` where one is given."""
    done = subprocess.run(
        [
            *as_user(os.geteuid() if user is None else user),
            *command(server.url, out, section, model),
            *arguments,
        ],
        capture_output=True,
        text=True,
        timeout=900,
        cwd=out.parent,
        env={**os.environ, "OMP_NUM_THREADS": "1", **({"HOME": str(out.parent)} if user else {})},
    )
    return Evaluation(out, done.returncode, done.stderr, server.asked_twice)
