"""How a Slurm job ended badly, or why it was not taken, for the person at the screen."""

import re
from dataclasses import dataclass
from pathlib import Path

from toolgain.common.errors import ExitCode
from toolgain.common.failures import Failure

MEANINGS = {
    "TIMEOUT": "it reached its time limit; what was saved is kept, and the next attempt resumes",
    "DEADLINE": "it reached its deadline",
    "CANCELLED": "by Ctrl-C of the run that submitted it, by scancel or by an administrator",
    "REVOKED": "another cluster of the federation took it",
    "NODE_FAIL": "one of its nodes failed",
    "BOOT_FAIL": "one of its nodes did not start",
    "OUT_OF_MEMORY": "it needs more memory than it asked for",
    "UNKNOWN": "Slurm no longer knows it",
    "PREEMPTED": "another job took its place",
}
"""What a state means where the stage itself said nothing."""

NOT_OF_THE_STAGE = frozenset(
    {"CANCELLED", "REVOKED", "NODE_FAIL", "BOOT_FAIL", "PREEMPTED", "DEADLINE", "UNKNOWN"}
)
"""States that say nothing against the stage: the same job may well end well."""

MEMORY_KEYS = {
    "trial": "cluster.evaluate_memory_gb",
    "rehearse": "cluster.evaluate_memory_gb",
    "smoke": "cluster.memory_gb_per_node",
    "train_run": "cluster.memory_gb_per_node",
    "export": "cluster.export_memory_gb",
    "evaluate_model": "cluster.evaluate_memory_gb",
}
TIME_KEYS = {
    "trial": "cluster.evaluate_time",
    "rehearse": "cluster.evaluate_time",
    "smoke": "cluster.smoke_time",
    "train_run": "cluster.train_time",
    "export": "cluster.export_time",
    "evaluate_model": "cluster.evaluate_time",
}
CPU_KEYS = {
    "trial": "cluster.evaluate_cpus",
    "rehearse": "cluster.evaluate_cpus",
    "smoke": "cluster.cpus_per_node",
    "train_run": "cluster.cpus_per_node",
    "evaluate_model": "cluster.evaluate_cpus",
}
GPU_KEYS = {
    "trial": "cluster.evaluate_gpus",
    "rehearse": "cluster.evaluate_gpus",
    "smoke": "cluster.gpus_per_node",
    "train_run": "cluster.gpus_per_node",
    "evaluate_model": "cluster.evaluate_gpus",
}


@dataclass(frozen=True)
class Ending:
    """A Slurm job that ended badly, and what its stage said."""

    job_id: str
    state: str
    log: Path
    """Slurm's own log of the job."""
    failure: Failure | None

    @property
    def word(self) -> str:
        """The state in one word, without who cancelled it."""
        return self.state.split()[0]

    @property
    def title(self) -> str:
        """The job and its state."""
        return f"Slurm job {self.job_id}, {self.word}"

    @property
    def cause(self) -> str | None:
        """The stage's own words, else what the state means."""
        if self.failure:
            return self.failure.message
        if self.word in MEANINGS:
            return f"Slurm job {self.job_id} ended as {self.word}: {MEANINGS[self.word]}."
        return None

    @property
    def sentence(self) -> str:
        """The job, its state and the cause as far as it is known."""
        cause = MEANINGS.get(self.word) or (self.failure.message if self.failure else "")
        return f"Slurm job {self.job_id} ended as {self.word}" + (f": {cause}" if cause else "")

    def advice(self, rule: str) -> str:
        """What to do before the next start of a stage of `rule`."""
        if self.word == "OUT_OF_MEMORY" and rule in MEMORY_KEYS:
            return f"raise {MEMORY_KEYS[rule]}, then start again"
        if self.word == "TIMEOUT" and rule in TIME_KEYS:
            return f"start again, it resumes; {TIME_KEYS[rule]} is the limit of one job"
        if self.failure is None and self.word in NOT_OF_THE_STAGE:
            return "start again; finished work is kept and resumed"
        return advice(self.failure.exit_code if self.failure else None)


def advice(exit_code: int | None) -> str:
    """What to do after a stage ended with `exit_code`, None where nobody knows it."""
    if exit_code == ExitCode.BAD_INPUT:
        return "correct it, then start again; trying again as it is would end the same way"
    return "mend the cause, then start again; finished work is kept and resumed"


REFUSALS = {
    r"qos": "name a QOS that you may use (`sacctmgr show assoc user=$USER format=account,qos`): "
    "--set-resources, qos in the profile, or --toolgain-slurm-qos",
    r"account": "SLURM_ACCOUNT or cluster.account and SLURM_PARTITION or cluster.partition name "
    "what `sacctmgr show assoc user=$USER format=account,partition` lists",
    r"partition": "`sinfo` lists the partitions and their state: SLURM_PARTITION or "
    "cluster.partition",
    r"time limit|deadline": "lower the stage's time in `cluster`; `sinfo -o '%P %l'` shows limits",
    r"licen[sc]e": "`scontrol show licenses` lists what there is",
    r"gres|generic resource": "cluster.gpus_per_node or cluster.evaluate_gpus asks for GPUs that "
    "no node has; `sinfo -o '%P %G'` shows them",
    r"memory": "lower the stage's memory in `cluster`; `sinfo -o '%P %m'` shows what nodes have",
    r"node configuration|node count|cpu count|features?": "no node has what the stage asks for in "
    "`cluster`; `sinfo -o '%P %D %c %m %G %f'` shows what they have",
    r"reservation": "`scontrol show reservation` lists the reservations",
    r"unrecognized option|invalid option|unrecognised": "an option of slurm_extra that this sbatch "
    "does not know",
}
"""What to do about an error of sbatch, by words in it; the first that fits."""

PASSING = (
    "unable to contact",
    "socket timed out",
    "temporarily unable",
    "resource temporarily unavailable",
    "zero bytes were transmitted",
    "connection refused",
    "connection timed out",
    "connection reset",
    "communication connection failure",
    "standby mode",
    "unexpected message received",
    "job submit limit",
    "maxsubmit",
    "max job count",
    "protocol authentication error",
)
"""Words of sbatch's errors that time alone mends."""


@dataclass(frozen=True)
class Refusal:
    """A job that sbatch did not take."""

    said: str
    """sbatch's own words, in one line."""
    of_sbatch: bool = True
    """Whether sbatch said so; else it was never asked."""

    @property
    def passing(self) -> bool:
        """Whether the same job may be taken later."""
        return any(words in self.said.lower() for words in PASSING)

    @property
    def title(self) -> str:
        """That there is no job."""
        return "not submitted"

    @property
    def cause(self) -> str:
        """sbatch's words."""
        if not self.of_sbatch:
            return f"the job could not be submitted: {self.said.rstrip('.')}."
        return f"sbatch refuses the job: {self.said.rstrip('.')}."

    def advice(self, _: str) -> str:
        """What to do before the next start."""
        if not self.of_sbatch:
            return advice(None)
        if self.passing:
            return "start again once Slurm takes jobs of yours; finished work is kept"
        for words, todo in REFUSALS.items():
            if re.search(words, self.said, re.I):
                return f"{todo}; then start again"
        return "ask the administrator what these words mean here, then start again"


def refusal_in(text: str) -> Refusal:
    """sbatch's refusal in what it, or Snakemake about it, said; its last words where unclear."""
    if failed := re.match(r"Job submission failed with exception: (.*)", text, re.S):
        return Refusal(" ".join(failed[1].split()), of_sbatch=False)
    quoted = re.search(r"The error message was '(.*?)'\.?\s*(?:\n|$)", text, re.S)
    lines = [line.strip() for line in (quoted[1] if quoted else text).splitlines() if line.strip()]
    errors = [
        re.sub(r"^(sbatch|allocation failure|Batch job submission failed): *(error: *)?", "", line)
        for line in lines
        if re.match(r"(sbatch|allocation failure)\b", line)
    ]
    said = [
        re.sub(r"^(allocation failure|Batch job submission failed): *", "", line)
        for line in (errors or lines[-1:])
    ]
    return Refusal("; ".join(dict.fromkeys(said)) or "it gave no reason")
