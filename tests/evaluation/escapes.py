"""Every way out of the sandbox that we know of, as Python for the harness to evaluate.

Each is tried against files, sockets and processes that a test made. What it does inside of its own
folder is allowed; that nothing comes of it later is for the test to see.
"""

import base64
import contextlib
import ctypes
import json
import os
import shutil
import socket
import subprocess
import tempfile
import threading
from dataclasses import dataclass, field
from pathlib import Path

MARK = "toolgain-hostile"
SECRET = "hf_Marked53Value"
SEGMENT = 0x7053
"""Key of a System V shared memory segment."""


@dataclass
class Outside:
    """What a hostile call must not get at: files, a port, unix sockets, a process, memory."""

    folder: Path
    user: int
    """Whose they are: the one who evaluates."""
    port: int = 0
    reached: list[str] = field(default_factory=list)
    victim: "subprocess.Popen[bytes]" = field(init=False)
    segment: int = -1
    terminal: tuple[int, int] = (-1, -1)
    """Both ends of a terminal of the user's."""
    sockets: list[socket.socket] = field(default_factory=list)

    @property
    def secret(self) -> Path:
        return self.folder / "secret"

    @property
    def kept(self) -> Path:
        return self.folder / "kept"

    @property
    def executed(self) -> Path:
        """Written by code that was planted, if it ran where it sees this folder."""
        return self.folder / "executed"

    @property
    def abstract(self) -> str:
        return f"\0{self.folder.name}"

    def __enter__(self) -> "Outside":
        self.secret.write_text(SECRET)
        self.kept.write_text("as it was")
        self._listen("tcp", socket.create_server(("127.0.0.1", 0)))
        self.port = self.sockets[0].getsockname()[1]
        for name, kind, address in (
            ("unix", socket.SOCK_STREAM, str(self.folder / "socket")),
            ("unix datagram", socket.SOCK_DGRAM, str(self.folder / "datagrams")),
            ("abstract", socket.SOCK_STREAM, self.abstract),
            ("abstract datagram", socket.SOCK_DGRAM, f"{self.abstract}-d"),
        ):
            made = socket.socket(socket.AF_UNIX, kind)
            made.bind(address)
            if kind == socket.SOCK_STREAM:
                made.listen()
            self._listen(name, made)
        for path in self.folder.iterdir():
            path.chmod(0o666)
            shutil.chown(path, self.user, self.user)
        self.folder.chmod(0o777)
        self.segment = ctypes.CDLL(None).shmget(SEGMENT, 4096, 0o1666)
        self.terminal = os.openpty()
        os.chown(os.ttyname(self.terminal[1]), self.user, self.user)
        self.victim = subprocess.Popen(
            ["sleep", "3600"], env={"TOKEN": SECRET}, user=self.user, group=self.user
        )
        return self

    def __exit__(self, *error: object) -> None:
        for one in self.sockets:
            # Or the thread would wait on in a closed socket.
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()
        self.victim.kill()
        self.victim.wait()
        for end in self.terminal:
            os.close(end)
        if self.segment >= 0:
            ctypes.CDLL(None).shmctl(self.segment, 0, None)
        shutil.rmtree(self.folder)

    def _listen(self, name: str, server: socket.socket) -> None:
        self.sockets.append(server)

        def wait() -> None:
            try:
                while True:
                    if server.type == socket.SOCK_STREAM:
                        server.accept()
                    else:
                        server.recv(1)
                    self.reached.append(name)
            except OSError:
                return

        threading.Thread(target=wait, daemon=True).start()


def outside(user: int) -> Outside:
    """A folder of the machine's /tmp for `Outside`."""
    return Outside(Path(tempfile.mkdtemp(prefix=f"{MARK}-")), user)


INSIDE = {
    "a package where the next round starts": "d = pathlib.Path('toolgain'); "
    "d.mkdir(exist_ok=True);"
    "[(d / name).write_text(planted) for name in ('__init__.py', '__main__.py')]",
    "modules that Python imports by itself": "for name in ('sitecustomize', 'usercustomize', "
    "'json', 'os', 'yaml'): pathlib.Path(f'{name}.py').write_text(planted)",
    "packages of the user": "import site; d = pathlib.Path(site.getusersitepackages());"
    "d.mkdir(parents=True, exist_ok=True); (d / 'usercustomize.py').write_text(planted);"
    "(d / 'x.pth').write_text('import os; ' + planted)",
    "files that shells read": "for name in ('.bashrc', '.profile', '.netrc', '.pdbrc'):"
    "pathlib.Path(os.environ['HOME'], name).write_text(planted)",
    "a program from memory": "fd = os.memfd_create('x'); "
    "os.write(fd, open('/bin/sh', 'rb').read());"
    "os.fork() or os.execve(fd, ['sh', '-c', f'echo >{executed}; cat {secret} >stolen'], {});"
    "os.wait(); seen = open('stolen').read() if os.path.exists('stolen') else ''",
    "a library for later programs": "os.environ['LD_PRELOAD'] = os.path.abspath('x.so');"
    "pathlib.Path('x.so').write_bytes(b'no library'); subprocess.run(['true'])",
    "links among its own files": "name = os.urandom(8).hex(); open(name, 'w').close();"
    "os.link(name, name + '-too'); os.symlink(kept, name + '-link')",
    "a file in its own memory": "[open(f'{d}/{os.path.basename(folder)}-planted', 'w') for d in "
    "('/tmp', '/dev/shm')]",
    "its own environment": "seen = str(dict(os.environ)) + open('/proc/1/environ').read()",
    "a process that stays": "os.fork() or (os.setsid(), os.closerange(0, 999), os.fork() and "
    f"os._exit(0), signal.signal(15, signal.SIG_IGN), os.execve('/bin/sh', ['{MARK}-stays', '-c', "
    "'while :; do sleep 1; done'], {}))",
}
"""What it may do: nothing of it leaves its folder."""

WITHOUT_EFFECT = {
    name: f"os.symlink(kept, os.path.dirname(os.getcwd()) + '/{name}')"
    for name in ("harness.log", "requests.jsonl", "run_config.yml", "canary.json", "server.log")
}
"""It may work, where the folder lies in its own /tmp, or not: nobody outside sees it."""

REFUSED = {
    "read a file": "seen = open(secret).read()",
    "write a file": "open(kept, 'w').write('spoilt')",
    "truncate a file": "os.truncate(kept, 0)",
    "change a mode": "os.chmod(kept, 0)",
    "remove a file": "os.unlink(kept)",
    "a hard link": "os.link(secret, 'linked')",
    "a hard link to the data": "os.link(glob.glob(os.environ['BFCL_DATA_DIR'] + '/*.json')[0], "
    "'l')",
    "the expected answers": "seen = [open(p).read() for p in "
    "glob.glob(os.environ['BFCL_DATA_DIR'] + '/possible_answer/*') + "
    "glob.glob(sys.prefix + '/lib/python3*/site-packages/bfcl/data/**/*.json', recursive=True)][0]",
    "the functions that are expected": "seen = [json.loads(line)['path'] for p in "
    "glob.glob(os.environ['BFCL_DATA_DIR'] + '/*multi_turn*.json') for line in open(p)][0]",
    # Files without a name: where nothing refuses them, as on the least kernel, none is left behind,
    # and none of the machine's is touched.
    "the programs": "os.open(sys.prefix, os.O_TMPFILE | os.O_WRONLY)",
    "the system's settings": "os.open('/etc', os.O_TMPFILE | os.O_WRONLY)",
    "users and passwords": "os.open('/etc/shadow', os.O_WRONLY)",
    "cron": "os.open('/etc/cron.d', os.O_TMPFILE | os.O_WRONLY)",
    "the kernel's settings": "os.open('/proc/sys/kernel/core_pattern', os.O_WRONLY)",
    "the root of a process": "seen = open(f'/proc/{victim}/root{secret}').read()",
    "the root of every process": "seen = [open(p + '/root' + secret).read() for p in "
    "glob.glob('/proc/[0-9]*')][0]",
    "the root of this program's starter": "seen = open(f'/proc/{pytest}/root{secret}').read()",
    # A process of the sandbox's own may have the number of one outside: each says whose it is.
    "an environment": "seen = open(f'/proc/{victim}/environ').read();"
    "assert seen.startswith('TOKEN=')",
    "descriptors": "seen = os.listdir(f'/proc/{pytest}/fd');assert began(pytest) == births[pytest]",
    "foreign memory": "open(f'/proc/{victim}/mem', 'rb'); assert began(victim) == births[victim]",
    "a folder above": "seen = open('/proc/self/cwd/' + '../' * 30 + secret).read()",
    "inherited descriptors": "assert [n for n in os.listdir('/proc/1/fd') if int(n) > 2]",
    # Seized, not attached: that would stop the one that waits for the answer.
    "ptrace": "assert libc.ptrace(0x4206, victim, 0, 0) == 0; assert same_numbers()",
    "ptrace of the parent": "assert libc.ptrace(0x4206, os.getppid(), 0, 0) == 0",
    "a signal": "os.kill(victim, 0); assert same_numbers(); os.kill(victim, 9)",
    "a signal to this program's starter": "os.kill(pytest, 0); assert same_numbers()",
    "a process by descriptor": "os.pidfd_open(victim); assert same_numbers()",
    "shared memory": f"assert libc.shmget({SEGMENT}, 0, 0) >= 0",
    "a port": "socket.create_connection(('127.0.0.1', port), 3)",
    "a port by name": "socket.create_connection(('localhost', port), 3)",
    "a port of version 6": "socket.create_connection(('::1', port), 3)",
    "another address": "socket.create_connection(('192.0.2.1', 80), 3)",
    "a datagram": "socket.socket(type=socket.SOCK_DGRAM).sendto(b'x', ('192.0.2.1', 53))",
    "a unix socket": "socket.socket(socket.AF_UNIX).connect(folder + '/socket')",
    "a descriptor through a unix socket": "a, b = socket.socketpair(); "
    "a.connect(folder + '/socket');"
    "socket.send_fds(a, [b'x'], [0])",
    "a datagram by name": "socket.socketpair(type=socket.SOCK_DGRAM)[0].sendto(b'x', folder + "
    "'/datagrams')",
    "a datagram of a raw socket": "socket.socketpair(type=socket.SOCK_RAW)[0].sendto(b'x', "
    "folder + '/datagrams')",
    "an abstract socket": "socket.socket(socket.AF_UNIX).connect(abstract)",
    "an abstract datagram": "socket.socketpair(type=socket.SOCK_DGRAM)[0].sendto(b'x', abstract + "
    "'-d')",
    "a terminal": "fd = os.open(terminal, os.O_RDWR); assert os.fstat(fd).st_dev == terminals;"
    "fcntl.ioctl(fd, termios.TIOCSTI, b'x')",
    "its own terminal's keys": "fcntl.ioctl(os.open('/dev/tty', os.O_RDWR), termios.TIOCSTI, b'x')",
    "a user namespace": "assert libc.unshare(0x10000000) == 0",
    "a mount namespace": "assert libc.unshare(0x20000) == 0",
    "a mount": "assert libc.mount(b'/', b'/tmp', None, 0x1000, None) == 0",
    "another root": "os.chroot('/proc/1/root')",
    "a disk": "os.open(os.mknod('disk', 0o60600, os.makedev(259, 0)) or 'disk', os.O_RDONLY)",
    "another user": "n = 1 if os.getuid() == 0 else 0; os.setuid(n); assert os.getuid() == n",
    "a program with more rights": "subprocess.run(['su', '-c', 'id'], check=True, stdin=0, "
    "timeout=5)",
    "a port by multipath TCP": "socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262)"
    ".connect(('127.0.0.1', port))",
    "a port with the first data": "socket.socket().sendto(b'x', 0x20000000, ('127.0.0.1', port))",
    "a port with the first data of a message": "socket.socket().sendmsg([b'x'], [], 0x20000000, "
    "('127.0.0.1', port))",
    "a datagram outside": "socket.socket(type=socket.SOCK_DGRAM).sendto(b'x', "
    "('127.0.0.1', port));assert os.readlink('/proc/self/ns/net') == network",
    "sockets of the kernel": "[socket.socket(*kind) for kind in ((16, 3), (17, 3), (38, 5), "
    "(40, 1), (44, 3), (2, 3, 1), (2, 1, 132))]",
    "a change of times": "os.utime(kept)",
    "an attribute": "os.setxattr(kept, 'user.x', b'x')",
    "that a file exists": "os.stat(secret)",
    "another process": "assert began(victim) == births[victim]",
    # A terminal of the sandbox's own can have the same name.
    "a terminal's screen": "fd = os.open(terminal, os.O_WRONLY | os.O_NOCTTY); os.write(fd, b'x');"
    "assert os.fstat(fd).st_dev == terminals",
    "a terminal's keyboard": "fd = os.open(terminal, os.O_RDONLY | os.O_NOCTTY);"
    "assert os.fstat(fd).st_dev == terminals",
    # Taken away again where nothing refuses them.
    "a queue that stays": "name = b'/' + os.path.basename(folder).encode();"
    "assert libc.mq_open(name, os.O_CREAT | os.O_RDWR, 0o600, None) >= 0; libc.mq_unlink(name)",
    "a System V queue that stays": "n = libc.msgget(0x7053, 0o1666); assert n >= 0;"
    "libc.msgctl(n, 0, None)",
    "memory that stays": "n = libc.shmget(0x7054, 4096, 0o1666); assert n >= 0;"
    "libc.shmctl(n, 0, None)",
    "semaphores that stay": "n = libc.semget(0x7053, 1, 0o1666); assert n >= 0;"
    "libc.semctl(n, 0, 0)",
    "a ring": "assert libc.syscall(425, 8, ctypes.create_string_buffer(120)) >= 0",
    "page faults": "assert libc.syscall({'x86_64': 323}.get(os.uname().machine, 282), 1) >= 0",
    "a key": "assert libc.syscall({'x86_64': 248}.get(os.uname().machine, 217), b'user', b'x', "
    "b'y', 1, -2) >= 0",
    "counters": "assert libc.syscall({'x86_64': 298}.get(os.uname().machine, 241), "
    "ctypes.create_string_buffer(struct.pack('IIQ', 1, 128, 0) + bytes(112)), 0, -1, -1, 0) >= 0",
    "a program in the kernel": "assert libc.syscall({'x86_64': 321}.get(os.uname().machine, 280), "
    "0, ctypes.create_string_buffer(struct.pack('IIII', 2, 4, 8, 1) + bytes(112)), 128) >= 0",
    "foreign memory by call": "assert libc.process_vm_readv(os.getppid(), None, 0, None, 0, 0) "
    ">= 0",
    "a descriptor of its starter": "assert libc.syscall(438, os.pidfd_open(os.getppid()), 0, 0) "
    ">= 0",
    "the watch over all files": "assert libc.fanotify_init(0, 0) >= 0",
    "a namespace by clone3": "assert libc.syscall(435, ctypes.create_string_buffer("
    "struct.pack('Q', 0x10000000), 88), 88) >= 0",
    # Others are neither slowed, stopped by a limit, nor watched.
    "a limit of another process": "import resource; resource.prlimit(victim, "
    "resource.RLIMIT_CORE); assert same_numbers()",
    "the priority of another process": "os.setpriority(os.PRIO_PROCESS, victim, 5);"
    "assert same_numbers()",
    "the processors of another process": "os.sched_setaffinity(victim, os.sched_getaffinity(0));"
    "assert same_numbers()",
    "the disk priority of another process": "assert libc.syscall({'x86_64': 251}.get("
    "os.uname().machine, 30), 1, victim, 0x4007) == 0; assert same_numbers()",
    "what happens in a folder": "assert libc.inotify_add_watch(libc.inotify_init(), "
    "folder.encode(), 0xfff) >= 0",
    "a raised limit": "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, "
    "(1 << 20, 1 << 20))",
    # enroot answers 0 and changes nothing.
    "another group": "os.setgroups([12345]); assert os.getgroups() == [12345]",
    "keys of the user": "assert libc.syscall({'x86_64': 250}.get(os.uname().machine, 219), 0, -4, "
    "0) >= 0",
    "to be ended last": "os.write(os.open('/proc/self/oom_score_adj', os.O_WRONLY), b'-1000')",
    "the kernel's memory": "os.open('/proc/kcore', os.O_RDONLY)",
    "the machine's switch": "os.open('/proc/sysrq-trigger', os.O_WRONLY)",
    # mov eax, 310 (unshare); mov ebx, CLONE_NEWUSER; int 0x80: not seen by a filter of 64 bits.
    "a namespace by a call of 32 bits": "import mmap; assert os.uname().machine == 'x86_64';"
    "code = bytes.fromhex('53b836010000bb00000010cd805bc3'); m = mmap.mmap(-1, 4096, prot=7);"
    "m.write(code); f = ctypes.CFUNCTYPE(ctypes.c_int)("
    "ctypes.addressof(ctypes.c_char.from_buffer(m)));"
    "assert f() == 0",
    "a namespace by a call of x32": "assert libc.syscall(0x40000000 + 272, 0x10000000) == 0",
    "a higher priority": "os.setpriority(os.PRIO_PROCESS, 0, -20)",
    "a huge file": "os.truncate(os.open('huge', os.O_CREAT | os.O_RDWR), 5 << 30)",
    "all memory": "bytearray(17 << 30)",
}
"""What it must not be able to do."""

SPOILING = """
import json, os, pathlib, sys, time
here = pathlib.Path('harness/result/policy')
for name, spoil in {
    'simple': lambda p: p.symlink_to(kept),
    'multiple': lambda p: os.mkfifo(p),
    'parallel': lambda p: os.link(secret_copy, p),
    'java': lambda p: p.write_bytes(b'{"id": "' + bytes(66 << 20) + b'"}'),
    'javascript': lambda p: os.truncate(os.open(p, os.O_CREAT | os.O_RDWR), 3 << 30),
    'irrelevance': lambda p: p.write_text('[' * 100000),
    'live_simple': lambda p: p.mkdir(),
}.items():
    path = here / f'BFCL_v3_{name}_result.json'
    path.unlink(missing_ok=True)
    spoil(path)
pathlib.Path('harness/results.yml').symlink_to(kept)
os.makedirs('harness/score', exist_ok=True)
os.mkfifo('harness/score/data_overall.csv')
if os.fork() == 0:
    os.setsid()
    file = here / 'BFCL_v3_live_multiple_result.json'
    for turn in range(100000):
        file.unlink(missing_ok=True)
        (file.symlink_to(kept) if turn % 3 else os.mkfifo(file))
        os.rename('harness/result', 'harness/other'), os.symlink('/', 'harness/result')
        os.unlink('harness/result'), os.rename('harness/other', 'harness/result')
time.sleep(1)
os.write(2, b'\\x1b]0;owned\\x07\\x1b[2J\\x1b[1;1Hall is well\\r')
os.kill(harness, 9)
"""
"""Spoil the result files in each way, go on to swap them and their folders, and kill the harness:
another round begins where it left off."""

RUN = """
import ctypes, fcntl, glob, json, os, pathlib, signal, socket, struct, subprocess, sys, termios
import time
def began(number):
    # In ticks since the machine's start: another process of this number began at another time.
    return open(f'/proc/{number}/stat').read().rpartition(')')[2].split()[19]
def same_numbers():
    # In a namespace of its own, a number is that of another process.
    return os.readlink('/proc/self/ns/pid') == numbers
def attempt(code):
    read, write = os.pipe()
    if os.fork() == 0:
        signal.alarm(120)
        space = {**globals(), 'libc': ctypes.CDLL(None, use_errno=True), 'seen': ''}
        try:
            exec(code, space)
            said = 'done ' + str(space['seen'])
        except BaseException as error:
            said = type(error).__name__
        os.write(write, said[:4000].encode())
        os._exit(0)
    os.close(write)
    said = os.read(read, 4000).decode()
    os.close(read)
    return said
def report(object):
    return done
harness, done = os.getpid(), 'again'
if not os.path.exists(marker):
    open(marker, 'w').close()
    secret_copy = os.path.abspath(marker)
    # With a number of its own, or an answer to it would be replayed in the next round.
    done = json.dumps({'number': os.urandom(8).hex()} |
                      {name: attempt(code) for name, code in ways.items()})
"""


def call_of(values: dict[str, object], code: str) -> str:
    """A function's name whose evaluation runs `code` with these global names, and whose value is
    what `code` leaves in `done`."""
    packed = base64.b64encode(f"globals().update({values!r})\n{code}".encode()).decode()
    # In base64, or the harness would put names of its own into it.
    ran = f"exec(__import__('base64').b64decode('{packed}'), space)"
    return f"(lambda space: {ran} or space['report'])({{}})"


def began(number: int) -> str:
    """When a process began, in ticks since the machine's start."""
    return Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[19]


def values_of(outside: Outside, pytest: int, ways: dict[str, str]) -> dict[str, object]:
    """The names that the ways use."""
    return {
        "secret": str(outside.secret),
        "kept": str(outside.kept),
        "executed": str(outside.executed),
        "planted": f"open({str(outside.executed)!r}, 'w')\n",
        "folder": str(outside.folder),
        "abstract": outside.abstract,
        "port": outside.port,
        "terminal": os.ttyname(outside.terminal[1]),
        "terminals": os.fstat(outside.terminal[1]).st_dev,
        "network": str(Path("/proc/self/ns/net").readlink()),
        "victim": outside.victim.pid,
        "pytest": pytest,
        "births": {number: began(number) for number in (outside.victim.pid, pytest)},
        "numbers": str(Path("/proc/self/ns/pid").readlink()),
        "ways": ways,
        "marker": f"ran {len(ways)}",
    }


def reports(bodies: list[dict[str, object]]) -> list[dict[str, str]]:
    """What the harness answered: each way, and `done` or the name of the error."""
    found = []
    for body in bodies:
        messages = body["messages"]
        assert isinstance(messages, list)
        for message in messages:
            if message["role"] == "tool" and message["content"].startswith("{"):
                found.append(json.loads(message["content"]))
    return found
