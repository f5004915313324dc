"""How a Slurm job ended badly, in a sentence for the person at the screen."""

from dataclasses import dataclass
from pathlib import Path

from toolgain.common.errors import ExitCode
from toolgain.common.failures import Failure

MEANINGS = {
    "TIMEOUT": "it reached its time limit; what was saved is kept, and the next attempt resumes",
    "CANCELLED": "somebody cancelled it",
    "NODE_FAIL": "one of its nodes failed",
    "OUT_OF_MEMORY": "it needs more memory than it asked for",
    "UNKNOWN": "Slurm no longer knows it",
    "PREEMPTED": "another job took its place",
}

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
        return advice(self.failure.exit_code if self.failure else None)


def advice(exit_code: int | None) -> str:
    """What to do after a stage ended with `exit_code`, None where nobody knows it."""
    if exit_code == ExitCode.BAD_INPUT:
        return "correct it, then start again; trying again as it is would end the same way"
    return "mend the cause, then start again; finished work is kept and resumed"
