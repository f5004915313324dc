"""The manifest of a training run: written last, from what lies in the checkpoint folder."""

from pathlib import Path

from toolgain.common.files import commit, digest, now
from toolgain.common.logs import out_of_memory, tail
from toolgain.records.tasks import Tasks
from toolgain.records.training import (
    BaseWeights,
    Cost,
    Manifest,
    Periods,
    Saved,
    Segment,
    SlurmJob,
    StageTimes,
    Times,
)
from toolgain.slurm.accounting import of_jobs
from toolgain.training import health
from toolgain.training.backend import TrainingJob
from toolgain.training.store import checkpoints, curves, segments
from toolgain.training.store.saves import read_saves, validation_items

SEGMENT = tuple(Segment.model_fields)
"""What the manifest says about each launch."""


def build(job: TrainingJob, key: str, tasks: Tasks, slurm: SlurmJob | None) -> Manifest:
    """The content of manifest.json."""
    found = curves.read_curves(job.logs)
    launches = segments.read_segments(job.folder)
    whole, _ = checkpoints.scan(job.folder)
    saves = read_saves(job.folder)
    kept = {item.step: item.accuracy for item in whole}
    written = {save["step"]: save["accuracy"] for save in saves} | kept
    # Without them no standard error of a share is computed from the accuracy.
    items = validation_items(job.validation) if curves.accuracy_is_share(found) else None
    logs = sorted(path for path in job.folder.rglob("*.log") if path.is_file())
    logs += sorted(job.folder.glob("launches/*/*-logs/*.log"))
    last = launches[-1] if launches else {}
    wall = sum(segments.launch_seconds(entry) for entry in launches)
    gpus = int(last.get("gpus") or 0)
    jobs = segments.slurm_jobs(job.folder)
    return Manifest(
        run=job.name,
        fingerprint=key,
        backend=job.section.backend,
        seed=job.section.seed,
        checkpoint_dir=str(job.folder),
        config_digest=digest(job.section.frozen()),
        weights=BaseWeights(
            path=job.weights.path, digest=job.weights.digest, name=job.weights.name
        ),
        planned_steps=job.steps,
        total_steps=max(kept, default=0),
        segments=[
            Segment.model_validate({name: entry[name] for name in SEGMENT if name in entry})
            for entry in launches
        ],
        hosts=sorted({host for entry in launches for host in entry.get("hosts", [])}),
        world_size=last.get("world_size"),
        curves=found,
        checkpoints=[
            Saved(step=step, accuracy=accuracy, kept=step in kept)
            for step, accuracy in sorted(written.items())
        ],
        validation_items=items,
        health=health.signs(
            found,
            steps=job.steps,
            val_period=job.val_period,
            save_period=job.save_period,
            saved=sorted(written),
            out_of_memory=[str(path) for path in logs if out_of_memory(tail(path))],
            logs=len(logs),
            validation_items=items,
        )
        + last.get("health", []),
        periods=Periods(
            val_period=job.val_period,
            save_period=job.save_period,
            keep_top_k=job.section.settings.keep_top_k,
        ),
        tasks=tasks,
        versions=last.get("versions", {}),
        times=Times(
            started=launches[0]["started"] if launches else None,
            finished=last.get("finished") or now(),
            wall_s=wall,
            lost_s=sum(entry.get("lost_s") or 0.0 for entry in launches),
            stages=StageTimes(
                checkpoints=sum(save["seconds"] for save in saves),
                steps=sum(value for _, value in found.get("train/step_time", [])),
            ),
        ),
        # Slurm's accounting counts every job; the launches' own clocks are the second best.
        cost=of_jobs(jobs)
        or Cost(
            nodes=max(1, len(set(last.get("hosts", [])))), gpus=gpus, gpu_hours=gpus * wall / 3600
        ),
        slurm=slurm,
        slurm_jobs=jobs,
        wandb_url=last.get("wandb_url"),
        handover=last.get("handover"),
        commit=commit(Path(__file__).parent),
    )
