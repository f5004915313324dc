"""Checks with Slurm before anything is submitted: one line per finding.

What the plan's jobs ask for is compared with what Slurm says of its accounts and partitions, so
that a job neither is refused nor waits forever for nodes that do not exist.
"""

import getpass
import re
import shlex
import shutil
import tempfile
import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from toolgain.common.files import read_json, write_json
from toolgain.slurm.allocation import parse_job
from toolgain.slurm.endings import CPU_KEYS, GPU_KEYS, MEMORY_KEYS, TIME_KEYS, refusal_in
from toolgain.slurm.queue import NoAnswerError, ask_slurm, of_folder

CANARY_SECONDS = 30
"""How long the check of the shared folder may wait for a free CPU."""
CHECKED = Path(".snakemake/toolgain-shared-folder.json")
UNAVAILABLE = "node configuration is not available"
"""sbatch's words where no node fits, or none that does is in service."""
IN_SERVICE = {"idle", "mix", "alloc", "comp", "plnd", "resv"}
"""sinfo's states of nodes that take jobs, now or after those that they have."""
USED = ("results", "logs", ".snakemake")
"""The folders that Snakemake and the stages write into."""


@dataclass(frozen=True)
class JobRequest:
    """What one rule's jobs ask Slurm for."""

    rule: str
    account: str | None = None
    partition: str | None = None
    nodes: int = 1
    gpus: int = 0
    """Per node."""
    cpus: int = 1
    """Per node."""
    memory_mb: int = 0
    """Per node."""
    minutes: int = 0
    whole_nodes: bool = False
    """Whether every GPU of its nodes is meant."""
    options: tuple[str, ...] = ()
    """Further options of sbatch, such as `--qos=long`."""


@dataclass(frozen=True)
class Partition:
    """What Slurm says of a partition. GPUs, CPUs and memory are those of its largest node."""

    name: str
    default: bool
    up: bool
    nodes: int
    max_nodes: int | None
    max_minutes: int | None
    gpus: frozenset[int]
    """The numbers of GPUs that its nodes have."""
    cpus: int
    memory_mb: int
    accounts: frozenset[str] = frozenset()
    """The accounts that may use it; none: every one."""
    refused_accounts: frozenset[str] = frozenset()


def request_of(job: Any) -> JobRequest:
    """The request of a Snakemake job."""
    names = job.resources.keys()
    return request_for(job.rule.name, {name: job.resources.get(name) for name in names})


def request_for(rule: str, asked: Mapping[str, Any]) -> JobRequest:
    """What the `resources` of a rule ask Slurm for."""
    gres = re.search(r"gpu:(?:[^:]+:)?(\d+)", str(asked.get("gres") or ""))
    tasks = int(asked.get("tasks_per_node") or 1)
    return JobRequest(
        rule=rule,
        account=asked.get("slurm_account"),
        partition=asked.get("slurm_partition"),
        nodes=int(asked.get("nodes") or 1),
        gpus=int(gres[1]) if gres else 0,
        cpus=tasks * int(asked.get("cpus_per_task") or 1),
        memory_mb=int(asked.get("mem_mb") or 0),
        minutes=int(asked.get("runtime") or 0),
        whole_nodes="mpi" in asked,
        options=(
            *(f"--qos={asked[name]}" for name in ("qos",) if asked.get(name)),
            *(f"--constraint={asked[name]}" for name in ("constraint",) if asked.get(name)),
            *shlex.split(str(asked.get("slurm_extra") or "")),
        ),
    )


def slurm_findings(requests: Iterable[JobRequest], folder: Path, shortest: int) -> Iterator[str]:
    """What is wrong with `requests` on this cluster, as lines for their user."""
    if not shutil.which("sbatch"):
        yield NO_SLURM
        return
    try:
        partitions = read_partitions(
            ask_slurm("scontrol", "show", "partition", "-o"),
            ask_slurm("sinfo", "-h", "-N", "-o", "%R|%c|%m|%G"),
        )
        left_over = of_folder(str(folder))
    except NoAnswerError as error:
        yield f"Slurm does not answer ({error}); is slurmctld up? `scontrol ping` asks it."
        return
    if left_over:
        names = ", ".join(
            f"{job.job_id} ({describe(job.comment)}, {job.state})" for job in left_over
        )
        ids = " ".join(job.job_id for job in left_over)
        yield (
            f"jobs of an earlier start in this folder are still in the queue: {names}. Wait until "
            f"they have ended, or `scancel {ids}`, then start again."
        )
    unique = sorted(set(requests), key=lambda request: request.rule)
    found = list(dict.fromkeys(_account_findings(unique)))
    by_text: dict[str, list[str]] = {}
    for request in unique:
        for text in mismatches(request, partitions, shortest) or refusals(request):
            by_text.setdefault(text.replace(f"{request.rule}: ", RULES), []).append(request.rule)
    found += [text.replace(RULES, f"{', '.join(rules)}: ") for text, rules in by_text.items()]
    yield from found
    if unique and not found and not left_over:
        yield from folder_findings(unique[0], folder)


RULES = "{rules}: "
"""Where a finding that several rules share names them."""

NO_SLURM = (
    "no Slurm here: sbatch is not on the PATH. Start on a login node of the cluster, or use "
    "--profile profiles/local."
)


def mismatches(request: JobRequest, partitions: dict[str, Partition], shortest: int) -> list[str]:
    """Where a request asks for more than its partition has, or for under `shortest` minutes."""
    return list(_mismatches(request, partitions, shortest))


def _mismatches(
    request: JobRequest, partitions: dict[str, Partition], shortest: int
) -> Iterator[str]:
    name = request.partition or next((p.name for p in partitions.values() if p.default), None)
    if name is None:
        yield (
            "no partition is named and the cluster has no default one; set SLURM_PARTITION or "
            f"cluster.partition to one of: {', '.join(partitions)}."
        )
        return
    partition = partitions.get(name)
    if partition is None:
        yield (
            f"Slurm knows no partition {name!r} (SLURM_PARTITION or cluster.partition); it has: "
            f"{', '.join(partitions)}."
        )
        return
    if not partition.up:
        yield f"partition {name} is not up; `sinfo -p {name}` shows its state."
    account = request.account
    if account and (
        account in partition.refused_accounts
        or (partition.accounts and account not in partition.accounts)
    ):
        others = ", ".join(sorted(partition.accounts)) or "every other one"
        yield (
            f"account {account} (SLURM_ACCOUNT or cluster.account) may not use partition {name}; "
            f"allowed: {others}."
        )
    most = min(partition.nodes, partition.max_nodes or partition.nodes)
    rule, where = request.rule, f"partition {name}"
    if request.nodes > most:
        yield f"{rule}: {request.nodes} nodes (cluster.nodes); {where} gives {most} at the most."
    largest = max(partition.gpus, default=0)
    if request.gpus > largest:
        yield (
            f"{rule}: {request.gpus} GPUs per node{_key(GPU_KEYS, rule)}; the nodes of {where} "
            f"have {largest or 'none'}."
        )
    elif request.whole_nodes and request.gpus and request.gpus not in partition.gpus:
        counts = " or ".join(str(count) for count in sorted(partition.gpus))
        yield (
            f"{rule}: whole nodes with {request.gpus} GPUs{_key(GPU_KEYS, rule)}; the nodes of "
            f"{where} have {counts}."
        )
    if request.cpus > partition.cpus:
        yield (
            f"{rule}: {request.cpus} CPUs per node{_key(CPU_KEYS, rule)}; {where} has "
            f"{partition.cpus}."
        )
    if request.memory_mb > partition.memory_mb:
        yield (
            f"{rule}: {request.memory_mb} MB of memory per node{_key(MEMORY_KEYS, rule)}; {where} "
            f"has {partition.memory_mb} MB."
        )
    if partition.max_minutes is not None and request.minutes > partition.max_minutes:
        yield (
            f"{rule}: {request.minutes} minutes{_key(TIME_KEYS, rule)}; {where} allows "
            f"{partition.max_minutes}. Shorter is no harm: a stage resumes in the next job."
        )
    if 0 < request.minutes < shortest:
        yield (
            f"{rule}: a time limit of {request.minutes} minutes{_key(TIME_KEYS, rule)}, too short "
            f"to start and save once; give it {shortest} or more, or set cluster.shortest_time."
        )


def _key(keys: Mapping[str, str], rule: str) -> str:
    return f" ({keys[rule]})" if rule in keys else ""


def refusals(request: JobRequest) -> list[str]:
    """What sbatch itself has against a request, which it is shown and not given (`--test-only`).

    It knows more than its partitions say: QOS, licenses, features, reservations, and a site's own
    rules. Whether all nodes are busy or down now is no reason to refuse.
    """
    place = {"account": request.account, "partition": request.partition}
    sizes = {"nodes": request.nodes, "cpus-per-task": request.cpus, "mem": request.memory_mb}
    command = ["sbatch", "--test-only", "--ntasks-per-node=1", "--wrap=true"]
    command += [f"--{name}={value}" for name, value in (place | sizes).items() if value]
    command += [f"--gres=gpu:{request.gpus}"] if request.gpus else []
    command += [f"--time={request.minutes}"] if request.minutes else []
    try:
        ask_slurm(*command, *request.options)
    except NoAnswerError as error:
        refusal = refusal_in(error.said)
        waits = UNAVAILABLE in refusal.said.lower() and _some_nodes_are_out(request.partition)
        if error.said and not refusal.passing and not waits:
            return [f"{request.rule}: {refusal.cause} {_sentence(refusal.advice(request.rule))}"]
    return []


def _some_nodes_are_out(partition: str | None) -> bool:
    """Whether nodes are drained, down or reserved for maintenance.

    `--test-only` then refuses what sbatch itself would queue until they are back.
    """
    chosen = [f"--partition={partition}"] if partition else []
    try:
        states = ask_slurm("sinfo", "--noheader", "--Node", "--format=%t", *chosen).split()
    except NoAnswerError:
        return False
    return not {state.rstrip("~#%+") for state in states} <= IN_SERVICE


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."


def work_folders(folder: Path) -> list[Path]:
    """The folders below `folder` that jobs use, where they really are: each may be a link."""
    found = [folder / name for name in ("", *USED) if (folder / name).exists()]
    return list(dict.fromkeys(path.resolve() for path in found))


def write_findings(folder: Path) -> Iterator[str]:
    """Which of the folders that a run writes into cannot be written here."""
    for path in work_folders(folder):
        try:
            with tempfile.TemporaryFile(dir=path):
                continue
        except OSError as error:
            yield (
                f"{path} cannot be written ({error.strerror}); work in a folder of your own, or "
                "mend its rights or its quota."
            )


def folder_findings(request: JobRequest, folder: Path) -> Iterator[str]:
    """Whether the nodes share the folders of a run with this host, by a job of a second.

    A node has to find in each what this host wrote, and this host what the node wrote. The answer
    is kept in the folder. Where no CPU is free at once, the check is left out: the first real job
    would say the same.
    """
    record = folder / CHECKED
    folders = work_folders(folder)
    checked = {"partition": request.partition or "", "folders": [str(path) for path in folders]}
    if record.exists() and read_json(record, "shared folder") == checked:
        return
    word = uuid.uuid4().hex
    tokens = [path / f".toolgain-{word}" for path in folders]
    for token in tokens:
        token.write_text(word)
    command = ["srun", "--ntasks=1", "--time=1", "--mem=50", "--job-name=toolgain-folder-check"]
    command += [f"--immediate={CANARY_SECONDS}", "--quiet", "--chdir=/"]
    command += [f"--account={request.account}"] if request.account else []
    command += [f"--partition={request.partition}"] if request.partition else []
    script = 'for f; do [ "$(cat "$f")" = "$0" ] && echo back >"$f" && echo "$f"; done 2>&1; true'
    try:
        names = [str(token) for token in tokens]
        seen = ask_slurm(*command, "sh", "-c", script, word, *names, timeout=CANARY_SECONDS + 60)
        shared = {token for token in tokens if str(token) in seen.splitlines()}
    except NoAnswerError:
        return
    finally:
        for token in tokens:
            token.unlink(missing_ok=True)
    for token in tokens:
        if token not in shared:
            yield (
                f"the nodes do not see {token.parent}: a job found none of this host's files "
                "there, or could not write. Work in a folder on the file system that all nodes "
                "share."
            )
    if len(shared) == len(tokens):
        write_json(record, checked)


def read_partitions(partitions: str, nodes: str) -> dict[str, Partition]:
    """The partitions from `scontrol show partition -o` and `sinfo -h -N -o "%R|%c|%m|%G"`."""
    rows: dict[str, list[tuple[int, int, int]]] = {}
    for line in nodes.splitlines():
        name, cpus, memory, gres = line.strip().split("|")
        gpus = sum(int(count) for count in re.findall(r"gpu(?::[^:,(]+)?:(\d+)", gres))
        rows.setdefault(name, []).append((gpus, int(cpus.rstrip("+")), int(memory.rstrip("+"))))
    found = {}
    for line in partitions.splitlines():
        fields = parse_job(line)
        name = fields["PartitionName"]
        own = rows.get(name, [])
        most = fields.get("MaxNodes", "UNLIMITED")
        found[name] = Partition(
            name=name,
            default=fields.get("Default") == "YES",
            up=fields.get("State") == "UP",
            nodes=int(fields.get("TotalNodes", "0")),
            max_nodes=int(most) if most.isdigit() else None,
            max_minutes=limit_minutes(fields.get("MaxTime", "UNLIMITED")),
            gpus=frozenset(gpus for gpus, _, _ in own),
            cpus=max((cpus for _, cpus, _ in own), default=0),
            memory_mb=max((memory for _, _, memory in own), default=0),
            accounts=_names(fields.get("AllowAccounts")),
            refused_accounts=_names(fields.get("DenyAccounts")),
        )
    return found


def _names(text: str | None) -> frozenset[str]:
    """Names separated by commas; none where all are meant."""
    words = (text or "").split(",")
    return frozenset(word for word in words if word not in ("", "ALL", "(null)"))


def limit_minutes(text: str) -> int | None:
    """A time limit of Slurm (`D-HH:MM:SS`, `HH:MM:SS`) in minutes; None for no limit."""
    match = re.fullmatch(r"(?:(\d+)-)?(\d+):(\d\d):(\d\d)", text)
    if match is None:
        return None
    days, hours, minutes, _ = (int(part or 0) for part in match.groups())
    return (days * 24 + hours) * 60 + minutes


def describe(comment: str) -> str:
    """The rule and its wildcards from a job's comment, for people: `train_run grpo`."""
    rule, _, wildcards = comment.removeprefix("rule_").partition("_wildcards_")
    return f"{rule} {wildcards}".strip()


def _account_findings(requests: list[JobRequest]) -> Iterator[str]:
    user = getpass.getuser()
    try:
        text = ask_slurm("sacctmgr", "-n", "-P", "show", "assoc", f"user={user}", "format=Account")
    except NoAnswerError:
        # A site without accounting, or slurmdbd away: sbatch has the last word.
        return
    known = sorted({line.strip() for line in text.splitlines() if line.strip()})
    for request in requests:
        if request.account and known and request.account not in known:
            yield (
                f"Slurm knows no account {request.account!r} for {user} (SLURM_ACCOUNT or "
                f"cluster.account); it has: {', '.join(known)}."
            )


def requests_of(workflow: Any) -> list[JobRequest]:
    """What the plan of a Snakemake workflow asks Slurm for, light rules left out."""
    # Not `workflow.is_local`: in a dry run every rule is local.
    light = workflow._localrules
    jobs = [
        job
        for job in workflow.dag.needrun_jobs(exclude_finished=False)
        if job.rule.name not in light and not job.rule.norun
    ]
    settings = workflow.executor_settings
    of_all = [
        f"--{name}={value}"
        for name in ("qos", "reservation")
        if (value := getattr(settings, name, None))
    ]
    requests = {request_of(job) for job in jobs}
    return sorted(
        (replace(one, options=(*one.options, *of_all)) for one in requests),
        key=lambda request: request.rule,
    )
