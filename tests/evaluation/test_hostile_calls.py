"""A hostile server in the real evaluation: every answer tries to get out, and nothing does.

The harness hands the model's calls to Python's `eval`. Each call here does harm to files, sockets
and processes that this test made, as root and as another user. A file in the work folder would
show that it ran; what must not happen is looked for outside.
"""

import base64
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest
from evaluating import Evaluation
from fault_server import FaultServer, Handler, Request, completion

from toolgain.evaluation import confinement

pytestmark = pytest.mark.slow

MARK = "toolgain-hostile"
SECRET = "hf_Marked53Value"


@dataclass
class Outside:
    """What a hostile call must not get at: files, a port, a unix socket, a process."""

    folder: Path
    port: int
    reached: list[str] = field(default_factory=list)
    victim: "subprocess.Popen[bytes] | None" = None

    @property
    def secret(self) -> Path:
        return self.folder / "secret"

    @property
    def kept(self) -> Path:
        return self.folder / "kept"


@pytest.fixture
def outside() -> Iterator[Outside]:
    folder = Path(tempfile.mkdtemp(prefix=f"{MARK}-"))
    folder.chmod(0o755)
    unix = socket.socket(socket.AF_UNIX)
    unix.bind(str(folder / "socket"))
    unix.listen()
    listener = socket.create_server(("127.0.0.1", 0))
    made = Outside(folder, listener.getsockname()[1])
    made.secret.write_text(SECRET)
    made.kept.write_text("as it was")
    for path in (made.secret, made.kept, folder / "socket"):
        path.chmod(0o666)

    def listen(server: socket.socket, name: str) -> None:
        try:
            while True:
                server.accept()
                made.reached.append(name)
        except OSError:
            return

    for server, name in ((unix, "unix"), (listener, "tcp")):
        threading.Thread(target=listen, args=(server, name), daemon=True).start()
    made.victim = subprocess.Popen(["sleep", "3600"], env={"TOKEN": SECRET})
    yield made
    for server in (unix, listener):
        server.close()
    made.victim.kill()
    made.victim.wait()
    shutil.rmtree(folder)


def harm(outside: Outside, work: Path) -> str:
    """Python that tries every way out that we know of, each on its own."""
    assert outside.victim
    victim, folder = outside.victim.pid, outside.folder
    planted = f"open({str(folder / 'executed')!r}, 'w')"
    ways = [
        # Planted code: where the next round's processes would import it.
        "d = pathlib.Path('toolgain'); d.mkdir(); (d / '__init__.py').write_text(planted)",
        f"pathlib.Path({str(work)!r}, 'sitecustomize.py').write_text(planted)",
        "pathlib.Path('sitecustomize.py').write_text(planted)",
        "pathlib.Path(os.environ['HOME'], '.bashrc').write_text(planted)",
        f"pathlib.Path({str(Path(sys.prefix) / 'sitecustomize.py')!r}).write_text(planted)",
        # Swapped files: logs, records and results as links to what is the user's.
        *(
            f"p = pathlib.Path({str(work)!r}, {name!r}); p.unlink(missing_ok=True); "
            f"p.symlink_to({str(outside.kept)!r})"
            for name in (
                *("harness.log", "requests.jsonl", "answers.jsonl", "run_config.yml"),
                *("server.log", "canary.json", "box/harness/results.yml"),
            )
        ),
        "for p in list(pathlib.Path('harness/result/policy').iterdir())[:2]: "
        f"p.unlink(); p.symlink_to({str(outside.kept)!r})",
        f"p = pathlib.Path('harness/results.yml'); p.symlink_to({str(outside.kept)!r})",
        "os.mkfifo('harness/data_overall.csv')",
        # Reading and writing what is outside.
        f"seen.append(open({str(outside.secret)!r}).read())",
        f"open({str(outside.kept)!r}, 'w').write('spoilt')",
        f"os.truncate({str(outside.kept)!r}, 0)",
        f"os.chmod({str(outside.kept)!r}, 0)",
        f"os.link({str(outside.secret)!r}, 'linked')",
        f"open('/tmp/{MARK}-planted', 'w')",
        f"open('/dev/shm/{MARK}-planted', 'w')",
        f"seen.append(open('/proc/{victim}/environ').read())",
        f"seen.append(open('/proc/{os.getpid()}/environ').read())",
        f"seen.append(open('/proc/1/root{outside.secret}').read())",
        f"seen.append(open('/proc/self/root{outside.secret}').read())",
        "seen.append(str(dict(os.environ)))",
        "[os.write(int(fd), b'x') for fd in os.listdir('/proc/self/fd') if int(fd) > 2]",
        # Networks, sockets, terminals, processes.
        f"socket.create_connection(('127.0.0.1', {outside.port}), 3)",
        f"socket.create_connection(('localhost', {outside.port}), 3)",
        f"socket.create_connection(('::1', {outside.port}), 3)",
        f"socket.socket(socket.AF_UNIX).connect({str(folder / 'socket')!r})",
        f"os.kill({victim}, 9)",
        f"os.kill({os.getpid()}, 0) or seen.append({SECRET!r})",
        "[fcntl.ioctl(os.open(f'/dev/pts/{n}', os.O_RDWR), termios.TIOCSTI, b'x') "
        "for n in range(9)]",
        # More rights: namespaces, mounts, devices, set-uid programs.
        "libc.unshare(0x10000000) or libc.unshare(0x20000) or "
        f"libc.mount(b'/', b'/tmp', None, 0x1000, None) or seen.append({SECRET!r})",
        f"os.chroot('/proc/1/root') or seen.append({SECRET!r})",
        f"os.mknod('disk', 0o60600, os.makedev(259, 0)) or seen.append({SECRET!r})",
        # Processes that stay: another session, another environment, another name.
        f"os.fork() or (os.setsid(), os.closerange(0, 99), os.fork() and os._exit(0), "
        f"os.execve('/bin/sh', ['{MARK}-stays', '-c', 'while :; do sleep 1; done'], {{}}))",
        # Scores: whatever is written now is overwritten or found out.
        "forge()",
    ]
    return (
        "import os, pathlib, socket, ctypes, fcntl, termios, json, glob\n"
        f"planted = {planted!r}\n"
        "seen = []\nlibc = ctypes.CDLL(None)\n"
        "def forge():\n"
        "    import glob, json\n"
        "    for path in glob.glob('harness/policy/*_score.json') + "
        "glob.glob('harness/score/policy/*_score.json'):\n"
        "        head = json.loads(open(path).readline())\n"
        "        head.update(accuracy=1.0, correct_count=head['total_count'])\n"
        "        open(path, 'w').write(json.dumps(head))\n"
        f"for way in {ways!r}:\n"
        "    try: exec(way)\n"
        "    except BaseException: pass\n"
        "open('hostile-ran', 'w').write(''.join(seen))\n"
        f"print(''.join(seen))\n"
    )


def hostile(code: str) -> Callable[[Request, Handler], bool]:
    """A server whose multi-turn answers are calls that do harm where they can."""
    # The harness evaluates `<name>(object=1)`; in base64, or it would put names of its own into it.
    packed = base64.b64encode(code.encode()).decode()
    name = f"exec(__import__('base64').b64decode('{packed}')) or str"
    calls = [
        {
            "id": "call_1",
            "type": "function",
            "function": {"name": name, "arguments": json.dumps({"object": 1})},
        }
    ]

    def answer(request: Request, handler: Handler) -> bool:
        if request.canary or len(request.body.get("tools", [])) < 5:
            return False
        message = {"role": "assistant", "content": None, "tool_calls": calls}
        ended = {"role": "assistant", "content": "Done.", "tool_calls": None}
        last = request.body["messages"][-1]
        handler.answer(200, completion(ended if last["role"] == "tool" else message, request.body))
        return True

    return answer


def test_nothing_gets_out_and_no_score_is_forged(
    asked: Callable[..., tuple[FaultServer, Evaluation]],
    undisturbed: Evaluation,
    outside: Outside,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if confinement.layers().open:
        pytest.skip(f"this kernel leaves open: {confinement.layers().open}")
    monkeypatch.setenv("HF_TOKEN", SECRET)
    server, evaluation = asked(hostile(harm(outside, tmp_path / "out" / "work")))
    asked_for = json.dumps([body["messages"] for body in server.bodies])
    log = "".join(p.read_text(errors="replace") for p in tmp_path.rglob("harness.log"))
    # It ran: the harness answered the call with what `str` makes of 1, not with an error.
    said = [m["content"] for body in server.bodies for m in body["messages"] if m["role"] == "tool"]
    assert "1" in said, f"no hostile call was evaluated: {said[:2]}\n{log[-2000:]}"
    assert SECRET not in asked_for, "a file or an environment was read"
    assert outside.kept.read_text() == "as it was"
    assert outside.kept.stat().st_nlink == outside.secret.stat().st_nlink == 1
    assert outside.kept.stat().st_mode & 0o777 == 0o666
    assert not (outside.folder / "executed").exists()
    assert not list(Path("/tmp").glob(f"{MARK}-planted")), "written into the machine's /tmp"
    assert not list(Path("/dev/shm").glob(f"{MARK}-planted"))
    assert outside.reached == []
    assert outside.victim and outside.victim.poll() is None
    left = [p for p in psutil.process_iter() if f"{MARK}-stays" in " ".join(arguments(p))]
    assert left == [], "a process outlived the evaluation"
    for path in tmp_path.rglob("*"):
        assert not path.is_symlink(), f"{path} was swapped"
        if path.is_file():
            assert SECRET.encode() not in path.read_bytes(), path
    # Either the true scores, or none that count.
    truth = {row.key: row.valid for row in undisturbed.items if "multi_turn" not in row.category}
    if evaluation.exit_code == 0:
        for row in evaluation.items:
            assert row.valid == truth.get(row.key, False), row.key


def test_forged_scores_and_rows_are_reported_and_do_not_count(
    asked: Callable[..., tuple[FaultServer, Evaluation]], undisturbed: Evaluation
) -> None:
    """A process that stays beside the scorer rewrites each score file, and one row of answers."""
    # Without functions: what `exec` imports inside of a function's frame is no global of theirs.
    code = """
import os, json, glob, time
if not os.path.exists('forging') and os.fork() == 0:
    open('forging', 'w').close()
    os.setsid(), os.closerange(0, 99)
    while True:
        try:
            for path in glob.glob('harness/**/BFCL_v3_simple_result.json', recursive=True):
                row = json.loads(open(path).readline())
                if 'forged' not in str(row):
                    row['result'] = [{'forged': '{}'}]
                    open(path, 'w').write(json.dumps(row) + chr(10))
            for path in glob.glob('harness/**/*_score.json', recursive=True):
                head = json.loads(open(path).readline())
                if head['correct_count'] != head['total_count']:
                    head.update(accuracy=1.0, correct_count=head['total_count'])
                    open(path, 'w').write(json.dumps(head))
        except (OSError, ValueError, KeyError):
            pass
        time.sleep(0.001)
"""
    _, evaluation = asked(hostile(code))
    assert evaluation.exit_code == 3, evaluation.stderr
    reasons = " ".join(evaluation.summary["reasons"])
    assert "result rows hold answers that the server never gave" in reasons
    assert "scores are others when the same rows are scored again" in reasons
    truth = {row.key: row.valid for row in undisturbed.items}
    for row in evaluation.items:
        if row.category == "simple":
            assert (row.valid, row.error_type) == (False, "no_request")
        elif "multi_turn" not in row.category:
            assert row.valid == truth[row.key], row.key
        else:
            assert not row.valid, row.key


def arguments(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []
