"""A real Slurm cluster of four hosts on this machine: `make cluster`, `make cluster-down`.

slurmctld, slurmdbd and MariaDB run in a network namespace of their own (the controller), each
slurmd in its own network, process, mount and host name namespaces (the nodes n1 to n4, eight
GPUs each, which are null devices). This machine is the login node. Nothing listens outside of
the namespaces.

Containers are not run: srun takes their options and runs the program on the host. With
TOOLGAIN_PYXIS set to a folder that holds `bin/enroot` and `lib/slurm/spank_pyxis.so` (enroot and
pyxis, built for this Slurm) they are real.

Everything lives in `ROOT`; outside of it there are only the bridge, the network namespaces and
links in /etc/slurm (Slurm commands in Snakemake's jobs look nowhere else). `down` takes all of it
away again and ends no process that `up` did not start.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path("/tmp/toolgain-cluster")
SHARED = ROOT / "shared"
"""A folder that every node sees (as any other folder, except `LOCAL` and /tmp/ray)."""
LOCAL = ROOT / "local"
"""A folder of which each host has its own."""
NODES = ("n1", "n2", "n3", "n4")
GPUS = 8
ACCOUNT = "research"
PARTITION = "batch"
CONTROLLER = "ctl"
SUBNET = "10.77.0"
BRIDGE = "toolgain0"
ETC = Path("/etc/slurm")
LINKS = ("slurm.conf", "gres.conf", "cgroup.conf", "mpi.conf")
PROGRAMS = ("slurmctld", "slurmdbd", "slurmd", "munged", "mariadbd", "ip", "gcc", "sacctmgr")
PACKAGES = "slurm-wlm slurmdbd munge mariadb-server iproute2 libpmix-dev libslurm-dev gcc"
HEADER = Path("/usr/include/slurm/spank.h")
PYXIS = os.environ.get("TOOLGAIN_PYXIS")
"""Where enroot and pyxis are; None: containers are not run."""


def missing() -> str | None:
    """Why there can be no cluster here, in one line, or None."""
    absent = [name for name in PROGRAMS if not shutil.which(name)]
    if absent or not HEADER.exists():
        what = ", ".join(absent) or str(HEADER)
        return f"cluster tests left out: {what} missing; as root: apt-get install {PACKAGES}"
    if os.geteuid() != 0:
        return "cluster tests left out: they need root for network namespaces; sudo make test"
    conf = ETC / "slurm.conf"
    if conf.exists() and not _ours(conf):
        return f"cluster tests left out: {conf} belongs to another cluster"
    return None


# --- the daemons ---------------------------------------------------------------------------------


def up() -> None:
    """Start the cluster; does nothing where it is already up, and starts a broken one afresh."""
    reason = missing()
    if reason:
        raise SystemExit(reason)
    with _sole(_lock_file()):
        if healthy() and (ROOT / "plugstack.conf").read_text() == _plugstack():
            return
        _down()
        try:
            _write_configuration()
            _make_network()
            _link()
            start_munge()
            start_database()
            start_slurmdbd()
            _accounts()
            start_slurmctld()
            for node in NODES:
                start_node(node)
            _wait(healthy, "the nodes to be idle", 60)
        except BaseException:
            _logs_to_stderr()
            raise


def down() -> None:
    """Stop the cluster and leave nothing behind; does nothing where there is none."""
    with _sole(_lock_file()):
        _down()
        _lock_file().unlink()


@contextlib.contextmanager
def session() -> Iterator[None]:
    """The cluster for one test session alone; it goes down again unless it was up before."""
    path = ROOT.with_name(ROOT.name + ".session")
    with _sole(path):
        was_up = healthy()
        up()
        yield
        if not was_up:
            down()
            path.unlink(missing_ok=True)


@contextlib.contextmanager
def _sole(path: Path) -> Iterator[None]:
    """Hold the lock of a file that its last holder may have removed."""
    while True:
        with path.open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            # Who waited for a file that is gone by now holds a lock that nobody else sees.
            if path.exists() and path.stat().st_ino == os.fstat(file.fileno()).st_ino:
                yield
                return


def _down() -> None:
    for name in [*NODES, "slurmctld", "slurmdbd", "mariadbd", "munged"]:
        stop(name)
    # What a node's processes were is gone with its process namespace; the rest by network.
    for name in (*NODES, CONTROLLER):
        for pid in _run("ip", "netns", "pids", _netns(name), check=False).split():
            _kill(int(pid), signal.SIGKILL)
        _run("ip", "netns", "del", _netns(name), check=False)
    _run("ip", "link", "del", BRIDGE, check=False)
    for link in LINKS:
        if _ours(ETC / link):
            (ETC / link).unlink()
    shutil.rmtree(ROOT, ignore_errors=True)


def healthy() -> bool:
    """Whether the controller answers and every node can take jobs."""
    if not _ours(ETC / "slurm.conf"):
        return False
    states = _run("sinfo", "-h", "-N", "-p", PARTITION, "-o", "%N %t", check=False, timeout=20)
    ready = {line.split()[0] for line in states.splitlines() if line.split()[1] in READY}
    return ready == set(NODES)


READY = ("idle", "mix", "alloc", "comp")


def start_munge() -> None:
    """Start munged with a key and a socket of its own."""
    folder = ROOT / "munge"
    arguments = [
        f"--key-file={folder / 'key'}",
        f"--socket={folder / 'socket'}",
        f"--pid-file={folder / 'pid'}",
        f"--log-file={folder / 'log'}",
        f"--seed-file={folder / 'seed'}",
        "--num-threads=2",
        "--foreground",
    ]
    _spawn("munged", ["munged", *arguments])
    _wait((folder / "socket").exists, "munged", 20)


def start_database() -> None:
    """Start MariaDB on the controller's loopback."""
    data = ROOT / "mysql"
    socket = ROOT / "mysql.socket"
    if not data.exists():
        _run(
            *("mariadb-install-db", "--no-defaults", "--user=root", f"--datadir={data}"),
            *("--auth-root-authentication-method=socket", "--skip-test-db"),
        )
    arguments = ["--no-defaults", "--user=root", f"--datadir={data}", f"--socket={socket}"]
    arguments += ["--bind-address=127.0.0.1", "--port=3306", f"--pid-file={ROOT / 'mysql.pid'}"]
    arguments += ["--innodb-buffer-pool-size=32M", "--innodb-flush-log-at-trx-commit=0"]
    _spawn("mariadbd", _at_controller("mariadbd", *arguments))
    _wait(lambda: _sql("select 1") is not None, "MariaDB", 60)
    password = (ROOT / "mysql.password").read_text()
    _sql(
        f"create user if not exists slurm@localhost identified by '{password}';"
        f"create user if not exists slurm@'127.0.0.1' identified by '{password}';"
        "grant all on slurm_acct_db.* to slurm@localhost;"
        "grant all on slurm_acct_db.* to slurm@'127.0.0.1';"
    )


def start_slurmdbd() -> None:
    """Start slurmdbd and wait until it answers."""
    command = f"exec slurmdbd -D >>{ROOT}/log/slurmdbd.out 2>&1"
    _spawn("slurmdbd", _at_controller("sh", "-c", command, conf=ROOT / "slurmdbd.conf"))
    _wait(lambda: _succeeds("sacctmgr", "-n", "show", "cluster"), "slurmdbd", 60)


def start_slurmctld() -> None:
    """Start slurmctld and wait until it answers."""
    command = f"hostname {CONTROLLER} && exec slurmctld -D >>{ROOT}/log/slurmctld.out 2>&1"
    _spawn("slurmctld", _at_controller("unshare", "--uts", "sh", "-c", command))
    _wait(lambda: _succeeds("scontrol", "ping"), "slurmctld", 60)


def start_node(node: str) -> None:
    """Start a node: its namespaces, its loopback, its own /tmp/ray and host name, slurmd.

    The process namespace's first process is a shell that stays, so that a node outlives its
    slurmd as a real one does.
    """
    _attach(node, node[1:])
    own = ROOT / "node" / node
    for folder in (own / "ray", own / "local", own / "pmix", Path("/tmp/ray"), LOCAL):
        folder.mkdir(parents=True, exist_ok=True)
    script = f"""
set -e
hostname {node}
mount --bind {own}/ray /tmp/ray
mount --bind {own}/local {LOCAL}
mount --bind {ROOT}/hosts /etc/hosts
rm -f {own}/slurmd.pid
slurmd -D -N {node} >>{ROOT}/log/slurmd-{node}.out 2>&1 &
trap : TERM
while :; do sleep 3600 & wait $!; done
"""
    namespaces = ("--pid", "--fork", "--kill-child", "--mount-proc", "--uts", "--mount")
    _spawn(
        node,
        ["ip", "netns", "exec", _netns(node), "unshare", *namespaces, "bash", "-c", script],
    )


def mend(node: str) -> None:
    """Bring back a node that is gone, and let one that was drained take jobs again."""
    if _pid(node) is None:
        start_node(node)
    if not healthy():
        _run("scontrol", "update", f"nodename={node}", "state=resume", check=False)


def stop(name: str) -> None:
    """End a daemon, or a node with everything on it, as a power cut would: no warning."""
    pid = _pid(name)
    if pid is None:
        return
    graceful = name in ("mariadbd", "slurmdbd", "slurmctld")
    _kill(pid, signal.SIGTERM if graceful else signal.SIGKILL)
    try:
        _wait(lambda: _pid(name) is None, f"{name} to end", 20)
    except TimeoutError:
        _kill(pid, signal.SIGKILL)
    (ROOT / "pids" / name).unlink(missing_ok=True)
    if name in NODES:
        # The processes of the node end with their process namespace, a moment later.
        def gone() -> bool:
            return not _run("ip", "netns", "pids", _netns(name), check=False).split()

        _wait(gone, f"the processes of {name} to end", 20)


def cut_network(node: str) -> None:
    """Take a node off the network, as a pulled cable does. `start_node` plugs it in again."""
    _run("ip", "link", "del", f"tg-{node}", check=False)


def on_node(node: str, *command: str) -> list[str]:
    """The command line that runs `command` inside a node's namespaces, outside of Slurm."""
    pid = _pid(node)
    if pid is None:
        raise RuntimeError(f"{node} is not up")
    init = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0]
    return ["nsenter", "--target", init, "--net", "--pid", "--mount", "--uts", "--", *command]


# --- configuration -------------------------------------------------------------------------------


def _write_configuration() -> None:
    for name in ("munge", "state", "spool", "log", "dev", "pids", "shared", "local", "node"):
        (ROOT / name).mkdir(parents=True, exist_ok=True)
    ROOT.chmod(0o755)
    (ROOT / "munge").chmod(0o755)
    _private(ROOT / "munge" / "key", secrets.token_bytes(128))
    _private(ROOT / "mysql.password", secrets.token_hex(16).encode())
    for number in range(GPUS):
        os.mknod(ROOT / "dev" / f"nvidia{number}", 0o020666, os.makedev(1, 3))
    socket = ROOT / "munge" / "socket"
    last = NODES[-1][1:]
    (ROOT / "slurm.conf").write_text(f"""\
ClusterName=toolgain
SlurmctldHost={CONTROLLER}({SUBNET}.254)
AuthType=auth/munge
AuthInfo=socket={socket}
SlurmUser=root
SlurmdUser=root
StateSaveLocation={ROOT}/state
SlurmdSpoolDir={ROOT}/spool/%n
SlurmctldPidFile={ROOT}/slurmctld.pid
SlurmdPidFile={ROOT}/node/%n/slurmd.pid
SlurmctldLogFile={ROOT}/log/slurmctld.log
SlurmdLogFile={ROOT}/log/slurmd-%n.log
PlugStackConfig={ROOT}/plugstack.conf
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SlurmdParameters=config_overrides
GresTypes=gpu
MpiDefault=none
SchedulerParameters=sched_interval=5,bf_interval=5,batch_sched_delay=0
# Short patience, so that tests see an end; a site's values are larger.
SlurmctldTimeout=30
SlurmdTimeout=30
KillWait=5
MinJobAge=300
ReturnToService=2
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost={SUBNET}.254
AccountingStoragePass={socket}
AccountingStorageEnforce=associations,limits,qos
AccountingStorageTRES=gres/gpu
JobAcctGatherType=jobacct_gather/none
NodeName=n[1-{last}] NodeAddr={SUBNET}.[1-{last}] CPUs=8 RealMemory=16000 Gres=gpu:{GPUS}
PartitionName={PARTITION} Default=YES Nodes=n[1-{last}] MaxTime=1-00:00:00 DefMemPerNode=1000
PartitionName=short Nodes=n[1-2] MaxTime=10 DefMemPerNode=1000
""")
    (ROOT / "gres.conf").write_text(
        f"AutoDetect=off\nNodeName=n[1-{last}] Name=gpu File={ROOT}/dev/nvidia[0-{GPUS - 1}]\n"
    )
    # The namespaces have no cgroup file system; with v1 and linuxproc slurmd needs none.
    (ROOT / "cgroup.conf").write_text("CgroupPlugin=cgroup/v1\nCgroupAutomount=no\n")
    (ROOT / "mpi.conf").write_text(f"PMIxCliTmpDirBase={LOCAL}\n")
    password = (ROOT / "mysql.password").read_text()
    _private(
        ROOT / "slurmdbd.conf",
        f"""\
AuthType=auth/munge
AuthInfo=socket={socket}
DbdHost=localhost
DbdAddr={SUBNET}.254
SlurmUser=root
LogFile={ROOT}/log/slurmdbd.log
PidFile={ROOT}/slurmdbd.pid
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort=3306
StorageUser=slurm
StoragePass={password}
StorageLoc=slurm_acct_db
""".encode(),
    )
    (ROOT / "plugstack.conf").write_text(_plugstack())
    _write_containers()
    names = [f"{SUBNET}.{name[1:]} {name}" for name in NODES] + [f"{SUBNET}.254 {CONTROLLER}"]
    (ROOT / "hosts").write_text("\n".join(["127.0.0.1 localhost", *names]) + "\n")


def _plugstack() -> str:
    if PYXIS:
        return f"required {PYXIS}/lib/slurm/spank_pyxis.so runtime_path={LOCAL}/pyxis\n"
    return f"required {ROOT}/containers.so\n"


def _write_containers() -> None:
    if not PYXIS:
        source = Path(__file__).with_name("containers.c")
        _run("gcc", "-Wall", "-shared", "-fPIC", "-o", str(ROOT / "containers.so"), str(source))
        return
    # pyxis takes enroot from slurmd's PATH. The root file systems of the containers are each
    # host's own, as they are on a real cluster: hosts name them alike.
    (ROOT / "bin").mkdir()
    program = ROOT / "bin/enroot"
    program.write_text(f"""\
#!/bin/sh
mkdir -p {LOCAL}/enroot/tmp
export ENROOT_RUNTIME_PATH={LOCAL}/enroot/run ENROOT_CACHE_PATH={LOCAL}/enroot/cache
export ENROOT_DATA_PATH={LOCAL}/enroot/data ENROOT_TEMP_PATH={LOCAL}/enroot/tmp
export PATH="{PYXIS}/bin:$PATH"
exec enroot "$@"
""")
    program.chmod(0o755)


def _make_network() -> None:
    _run("ip", "link", "add", BRIDGE, "type", "bridge")
    _run("ip", "addr", "add", f"{SUBNET}.253/24", "dev", BRIDGE)
    _run("ip", "link", "set", BRIDGE, "up")
    _attach(CONTROLLER, "254")


@contextlib.contextmanager
def isolated_login_node() -> Iterator[list[str]]:
    """A command prefix that enters a network of its own: loopback and the cluster, no way out."""
    _attach("login", "252")
    try:
        yield ["ip", "netns", "exec", _netns("login")]
    finally:
        cut_network("login")
        _run("ip", "netns", "del", _netns("login"), check=False)


def _attach(host: str, address: str) -> None:
    """Make the network namespace of `host` with its address, and plug it into the bridge."""
    namespace, wire = _netns(host), f"tg-{host}"
    if namespace not in _run("ip", "netns", "list").split():
        _run("ip", "netns", "add", namespace)
        _run("ip", "-n", namespace, "link", "set", "lo", "up")
    if Path(f"/sys/class/net/{wire}").exists():
        return
    _run("ip", "link", "add", wire, "type", "veth", "peer", "name", "eth0", "netns", namespace)
    _run("ip", "link", "set", wire, "master", BRIDGE, "up")
    _run("ip", "-n", namespace, "addr", "add", f"{SUBNET}.{address}/24", "dev", "eth0")
    _run("ip", "-n", namespace, "link", "set", "eth0", "up")


def _link() -> None:
    ETC.mkdir(exist_ok=True)
    for name in LINKS:
        link = ETC / name
        if link.is_symlink() and _ours(link):
            link.unlink()
        if link.exists():
            raise SystemExit(f"{link} belongs to another cluster; the test cluster leaves it alone")
        link.symlink_to(ROOT / name)


def _accounts() -> None:
    for words in (
        ("cluster", "toolgain"),
        ("account", ACCOUNT, "Description=tests", "Organization=tests"),
        ("user", "root", f"Account={ACCOUNT}", f"DefaultAccount={ACCOUNT}"),
        ("user", "nobody", f"Account={ACCOUNT}", f"DefaultAccount={ACCOUNT}"),
    ):
        _run("sacctmgr", "-i", "add", *words, check=False)


# --- processes -----------------------------------------------------------------------------------


def _at_controller(*command: str, conf: Path | None = None) -> list[str]:
    prefix = ["ip", "netns", "exec", _netns(CONTROLLER)]
    # slurmdbd reads the file beside slurm.conf; its own lies in ROOT.
    environment = ["env", f"SLURM_CONF={ROOT / 'slurm.conf'}"] if conf else []
    return [*prefix, *environment, *command]


def _spawn(name: str, command: list[str]) -> None:
    stop(name)
    with (ROOT / "log" / f"{name}.start").open("ab") as log:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            cwd=ROOT,
            env={
                "PATH": f"{ROOT / 'bin'}:{os.environ['PATH']}",
                "LC_ALL": "C.UTF-8",
                "HOME": "/root",
            },
        )
    record = {"pid": process.pid, "started": _start_time(process.pid)}
    (ROOT / "pids" / name).write_text(json.dumps(record))


def _pid(name: str) -> int | None:
    """The process id recorded for `name` if that very process is still there."""
    try:
        record = json.loads((ROOT / "pids" / name).read_text())
    except (FileNotFoundError, ValueError):
        return None
    pid = int(record["pid"])
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)
    started = _start_time(pid)
    return pid if started is not None and started == record["started"] else None


def _start_time(pid: int) -> str | None:
    """When a process began, in clock ticks: with the process id it names it for good."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else fields[19]


def _kill(pid: int, how: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, how)


def _sql(statement: str) -> str | None:
    command = ["mariadb", "--no-defaults", f"--socket={ROOT / 'mysql.socket'}", "-e", statement]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    return result.stdout if result.returncode == 0 else None


def _run(*command: str, check: bool = True, timeout: float = 120) -> str:
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=timeout)
    if check and result.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}: {result.stderr.strip() or result.stdout.strip()}")
    return result.stdout


def _succeeds(*command: str) -> bool:
    try:
        return subprocess.run(command, capture_output=True, check=False, timeout=15).returncode == 0
    except subprocess.TimeoutExpired:
        return False


def _wait(condition: object, what: str, seconds: float) -> None:
    assert callable(condition)
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"waited {seconds:.0f} s for {what}")
        time.sleep(0.2)


def _ours(link: Path) -> bool:
    return link.is_symlink() and link.readlink().is_relative_to(ROOT)


def _netns(name: str) -> str:
    return f"toolgain-{name}"


def _private(path: Path, content: bytes) -> None:
    path.touch(mode=0o600)
    path.write_bytes(content)


def _lock_file() -> Path:
    return ROOT.with_name(ROOT.name + ".lock")


def _logs_to_stderr() -> None:
    for log in sorted((ROOT / "log").glob("*")):
        for line in log.read_text(errors="replace").splitlines()[-5:]:
            print(f"{log.name}: {line}", file=sys.stderr)


def main() -> None:
    """Run one of: up, down, status."""
    verb = sys.argv[1] if len(sys.argv) == 2 else ""
    if verb == "up":
        start = time.monotonic()
        up()
        print(f"cluster up after {time.monotonic() - start:.0f} s: {', '.join(NODES)}")
    elif verb == "down":
        down()
    elif verb == "status":
        print("up" if not missing() and healthy() else "down")
    else:
        raise SystemExit("usage: cluster.py up|down|status")


if __name__ == "__main__":
    main()
