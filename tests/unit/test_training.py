"""The train stage without a trainer: fingerprints, signs of health, segments, causes."""

import json
from pathlib import Path
from typing import Any

import pytest

from toolgain.common.errors import StageError, UserError
from toolgain.common.files import read_json, write_json
from toolgain.config.sections import ClusterSection, TrainingSection
from toolgain.records.model import Model
from toolgain.records.record import write_record
from toolgain.slurm import accounting
from toolgain.training import health, train
from toolgain.training.backend import LaunchOutcome, TrainingJob
from toolgain.training.store import segments
from toolgain.training.store.curves import ACCURACY, HIGHEST, LOWEST, REWARD
from toolgain.training.store.lease import Lease
from toolgain.training.trl import backend

COUNTS = {"train": 1, "validation": 1}
DEMO_MODEL = Path(__file__).parents[2] / "resources" / "demo-model"
BASE = Model(path=str(DEMO_MODEL), digest="abc")


def section(**changes: Any) -> TrainingSection:
    return TrainingSection.model_validate({"backend": "trl", **changes})


@pytest.fixture
def tasks(tmp_path: Path) -> tuple[Path, Path]:
    files = tmp_path / "train.jsonl", tmp_path / "validation.jsonl"
    for path in files:
        path.write_text(f'{{"id": "{path.stem}"}}\n')
    return files


class TestFingerprint:
    """What makes another training, and what does not."""

    @pytest.mark.parametrize(
        "changes",
        [{"seed": 2}, {"trl": {"learning_rate": 2e-5}}, {"trl": {"max_steps": 50}}],
    )
    def test_what_is_trained_decides(
        self, tasks: tuple[Path, Path], changes: dict[str, Any]
    ) -> None:
        assert train.fingerprint(section(), BASE, *tasks) != train.fingerprint(
            section(**changes), BASE, *tasks
        )

    @pytest.mark.parametrize(
        "changes",
        [
            {"smoke_steps": 0},
            {"trl": {"threads": 4}},
            {"trl": {"processes": 2}},
            {"nemo_rl": {"ref": "v0.6.0"}},
            {"tasks": {"max_ngram_overlap": 0.5}},
        ],
    )
    def test_how_and_where_it_is_trained_does_not(
        self, tasks: tuple[Path, Path], changes: dict[str, Any]
    ) -> None:
        assert train.fingerprint(section(), BASE, *tasks) == train.fingerprint(
            section(**changes), BASE, *tasks
        )

    @pytest.mark.parametrize(
        ("changes", "decides"),
        [
            ({"max_turns": 3}, True),
            ({"overrides": {"a.b": 1}}, True),
            ({"config_paths": ["xlam_fc.yaml", "other.yaml"]}, True),
            ({"rehearsal_rows": 8}, False),
            ({"rollout_timeout_s": 5}, False),
        ],
    )
    def test_the_environment_of_gym_decides_where_it_is_trained_on(
        self, tasks: tuple[Path, Path], changes: dict[str, Any], decides: bool
    ) -> None:
        gym = {"config_paths": ["xlam_fc.yaml"]}
        played = section(environment="nemo_gym", gym=gym)
        changed = section(environment="nemo_gym", gym={**gym, **changes})
        rehearsed = section(gym={**gym, **changes})
        assert (
            train.fingerprint(played, BASE, *tasks) != train.fingerprint(changed, BASE, *tasks)
        ) is decides
        assert train.fingerprint(section(), BASE, *tasks) == train.fingerprint(
            rehearsed, BASE, *tasks
        )
        assert train.fingerprint(played, BASE, *tasks) != train.fingerprint(
            section(gym=gym), BASE, *tasks
        )

    def test_the_environment_that_is_handed_to_nemo_rl_decides(
        self, tasks: tuple[Path, Path]
    ) -> None:
        def key(**gym: Any) -> str:
            given = TrainingSection.model_validate({"backend": "nemo_rl", "gym": gym})
            return train.fingerprint(given, BASE, *tasks)

        assert key() == key(rehearsal_rows=8) == key(max_turns=3)
        assert len({key(), key(config_paths=["a.yaml"]), key(overrides={"a.b": 1})}) == 3

    def test_a_gym_configuration_of_one_s_own_counts_by_its_content(
        self, tasks: tuple[Path, Path], tmp_path: Path
    ) -> None:
        own = tmp_path / "own.yaml"
        own.write_text("a: 1\n")
        played = section(environment="nemo_gym", gym={"config_paths": [str(own)]})
        before = train.fingerprint(played, BASE, *tasks)
        own.write_text("a: 2\n")
        assert before != train.fingerprint(played, BASE, *tasks)

    def test_weights_and_tasks_count_by_content(self, tasks: tuple[Path, Path]) -> None:
        before = train.fingerprint(section(), BASE, *tasks)
        moved = train.fingerprint(section(), BASE.model_copy(update={"path": "/elsewhere"}), *tasks)
        assert before == moved
        assert before != train.fingerprint(
            section(), BASE.model_copy(update={"digest": "x"}), *tasks
        )
        tasks[0].write_text("{}\n")
        assert before != train.fingerprint(section(), BASE, *tasks)


def run(tmp_path: Path, tasks_file: Path, smoke: bool = False) -> None:
    weights = tmp_path / "model.json"
    write_record(weights, BASE)
    train.train_run(
        section(),
        weights=weights,
        tasks=tasks_file,
        name="grpo",
        out=tmp_path / "results" / "runs" / "grpo" / "manifest.json",
        nodes=1,
        smoke=smoke,
        trl_env=tmp_path,
        gym_env=tmp_path,
        cluster=ClusterSection(),
    )


def test_tasks_that_were_changed_by_hand_are_refused(
    tmp_path: Path, tasks: tuple[Path, Path]
) -> None:
    described = tmp_path / "tasks.json"
    write_json(described, COUNTS | {"sha256": {"train": "0" * 64}})
    with pytest.raises(UserError, match=r"train\.jsonl is not the file that tasks\.json describes"):
        run(tmp_path, described)
    tasks[1].unlink()
    write_json(described, COUNTS)
    with pytest.raises(UserError, match=r"validation\.jsonl is missing beside tasks\.json"):
        run(tmp_path, described)
    assert not (tmp_path / "results").exists()


def signs(curves: dict[str, Any], **changes: Any) -> dict[str, health.Sign]:
    facts: dict[str, Any] = {
        "steps": 12,
        "val_period": 4,
        "save_period": 4,
        "saved": [4, 8, 12],
        "out_of_memory": [],
        "logs": 1,
        "validation_items": 50,
    }
    return {sign["name"]: sign for sign in health.signs(curves, **(facts | changes))}


GOOD = {
    REWARD: [(step, step / 20 + 0.01 * (step % 2)) for step in range(1, 13)],
    ACCURACY: [(0, 0.2), (4, 0.3), (8, 0.5), (12, 0.4)],
}


class TestHealth:
    """The four signs, each with its evidence."""

    def test_a_healthy_training_shows_all_four(self) -> None:
        found = signs(GOOD)
        assert all(sign["passed"] for sign in found.values())
        assert "20.0 % before, 40.0 % at step 12, best 50.0 % at 8" in found["accuracy"]["evidence"]
        assert "3 of 3 checkpoints" in found["checkpoints"]["evidence"]
        assert "4 of 4 validations" in found["checkpoints"]["evidence"]

    def test_groups_that_earned_alike_are_counted(self) -> None:
        found = signs(GOOD | {health.ALIKE: [(1, 0.25), (2, 0.75)]})["reward"]
        assert "50 % of the groups had identical rewards" in found["evidence"]

    def test_a_reward_that_only_wobbles_does_not_rise(self) -> None:
        wobble = [(step, 0.5 + (0.1 if step % 2 else -0.1)) for step in range(1, 13)]
        assert not signs(GOOD | {REWARD: wobble})["reward"]["passed"]

    def test_too_few_steps_show_no_rise(self) -> None:
        found = signs(GOOD | {REWARD: [(1, 0.1), (2, 0.9)]})["reward"]
        assert found["passed"] is None
        assert "Too few steps (2)" in found["evidence"]

    def test_a_change_within_its_error_cannot_tell(self) -> None:
        noisy = [(step, 0.5 + (0.2 if step % 3 else -0.2) + 0.001 * step) for step in range(1, 25)]
        flat = [(0, 0.40), (12, 0.42)]
        found = signs(GOOD | {REWARD: noisy, ACCURACY: flat})
        assert found["reward"]["passed"] is None
        assert found["accuracy"]["passed"] is None

    def test_a_clear_fall_is_no_rise(self) -> None:
        falling = [(step, 1 - step / 20 + 0.01 * (step % 2)) for step in range(1, 13)]
        found = signs(GOOD | {REWARD: falling, ACCURACY: [(0, 0.8), (12, 0.2)]})
        assert found["reward"]["passed"] is False
        assert found["accuracy"]["passed"] is False

    def test_an_accuracy_that_ends_where_it_began_does_not_rise(self) -> None:
        flat = [(0, 0.4), (4, 0.6), (8, 0.5), (12, 0.4)]
        assert not signs(GOOD | {ACCURACY: flat})["accuracy"]["passed"]

    def test_an_accuracy_that_stays_zero_cannot_tell(self) -> None:
        assert signs(GOOD | {ACCURACY: [(0, 0.0), (12, 0.0)]})["accuracy"]["passed"] is None

    @pytest.mark.parametrize(
        "curves",
        [
            {ACCURACY: [(0, 0.4), (12, 2.5)]},
            # The mean lies between 0 and 1, and single rewards do not.
            {ACCURACY: [(0, 0.2), (12, 0.9)], LOWEST: [(0, -1.0), (12, 0.0)]},
            {ACCURACY: [(0, 0.2), (12, 0.9)], HIGHEST: [(0, 1.0), (12, 3.0)]},
        ],
    )
    def test_a_mean_of_rewards_beyond_0_and_1_has_no_error_and_no_verdict(
        self, curves: dict[str, Any]
    ) -> None:
        found = signs(GOOD | curves)["accuracy"]
        assert found["passed"] is None
        assert found["evidence"].endswith("no share of tasks; its standard error is not known.")

    def test_missing_checkpoints_and_validations_are_named(self) -> None:
        found = signs(GOOD | {ACCURACY: [(0, 0.2), (12, 0.4)]}, saved=[4, 12])["checkpoints"]
        assert not found["passed"]
        assert "no checkpoint at 8" in found["evidence"]
        assert "no validation at 4, 8" in found["evidence"]

    def test_memory_that_ran_out_names_the_log(self) -> None:
        found = signs(GOOD, out_of_memory=["/logs/train.log"])["memory"]
        assert not found["passed"]
        assert "/logs/train.log" in found["evidence"]


def test_a_smoke_training_counts_every_job_that_launched_it(
    tmp_path: Path, tasks: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    described = tmp_path / "tasks.json"
    write_json(described, COUNTS)
    used = "7|900|gres/gpu=8,node=1|FAILED|n1\n8|900|gres/gpu=8,node=1|RUNNING|n1\n"

    def failing(job: TrainingJob, launch: Path) -> LaunchOutcome:
        raise StageError("a rank was killed")

    def finishing(job: TrainingJob, launch: Path) -> LaunchOutcome:
        return LaunchOutcome(step=job.steps, planned_steps=job.steps, stopped=None)

    def attempt(job_id: str, start: Any) -> None:
        monkeypatch.setenv("SLURM_JOB_ID", job_id)
        monkeypatch.setattr(backend, "start", start)
        run(tmp_path, described, smoke=True)

    monkeypatch.setattr(accounting, "ask_slurm", lambda *command: used)
    monkeypatch.setattr(train, "_stop_at", lambda: None)
    monkeypatch.setattr(train, "verify", lambda job: None)
    with pytest.raises(StageError):
        attempt("7", failing)
    attempt("8", finishing)
    record = read_json(tmp_path / "results/runs/grpo/manifest.json", "smoke")
    assert record["slurm_jobs"] == record["cost"]["jobs"] == ["7", "8"]
    assert record["cost"]["gpu_hours"] == 4.0


def test_a_launch_that_never_came_to_its_folder_is_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    launch = tmp_path / "logs" / "exp_001"
    for job_id in ("7", "8", "8"):
        monkeypatch.setenv("SLURM_JOB_ID", job_id)
        segments.begin(tmp_path, launch)
    assert [entry["slurm_job_id"] for entry in segments.read_segments(tmp_path)] == ["8"]
    assert segments.slurm_jobs(tmp_path) == ["7", "8"]


def test_a_launch_without_an_end_was_killed(tmp_path: Path) -> None:
    first, second = tmp_path / "logs" / "exp_001", tmp_path / "logs" / "exp_002"
    segments.begin(tmp_path, first)
    segments.begin(tmp_path, second)
    segments.end(tmp_path, second, "finished", world_size=2)
    with (tmp_path / segments.FILE).open("a") as file:
        file.write('{"event": "beg')
    killed, finished = segments.read_segments(tmp_path)
    assert (killed["end"], finished["end"]) == ("killed", "finished")
    assert finished["world_size"] == 2
    assert segments.launch_seconds(finished) >= 0


def test_the_hosts_of_a_killed_launch_are_known(tmp_path: Path) -> None:
    launch = tmp_path / "logs" / "exp_001"
    segments.begin(tmp_path, launch)
    launch.mkdir(parents=True)
    (launch / segments.PROCESSES).write_text('{"world_size": 2, "hosts": ["n1", "n2"]}')
    (killed,) = segments.read_segments(tmp_path)
    assert (killed["end"], killed["world_size"], killed["hosts"]) == ("killed", 2, ["n1", "n2"])


def test_time_lost_runs_from_the_checkpoint_that_the_next_launch_resumes_from(
    tmp_path: Path,
) -> None:
    def line(launch: int, minute: int, event: str, **facts: object) -> str:
        time = f"2026-01-01T00:{minute:02d}:00+00:00"
        where = {"host": "a", "slurm_job_id": None}
        return json.dumps(
            {"event": event, "launch": f"exp_{launch:03d}", "time": time, **where, **facts}
        )

    (tmp_path / segments.FILE).write_text(
        "\n".join(
            [
                line(1, 0, "begin", saved=None),
                line(1, 9, "end", end="failed"),
                line(2, 10, "begin", saved="2026-01-01T00:04:00+00:00"),
                line(2, 19, "end", end="failed"),
                # Nothing was saved in the second launch: all of it is done again.
                line(3, 20, "begin", saved="2026-01-01T00:04:00+00:00"),
                line(3, 29, "end", end="in time", lost_s=7.0),
                line(4, 30, "begin", saved="2026-01-01T00:29:00+00:00"),
                line(4, 35, "end", end="finished", lost_s=0.0),
            ]
        )
    )
    assert [entry["lost_s"] for entry in segments.read_segments(tmp_path)] == [
        300.0,
        540.0,
        7.0,
        0.0,
    ]


LOST = "[rank0]: RuntimeError: [gloo/transport/tcp/pair.cc:553] Connection closed by peer [x]:1\n"


@pytest.mark.parametrize(
    ("code", "text", "said"),
    [
        (1, "Traceback\nKeyError: 'tools'\n", "KeyError: 'tools'."),
        (1, "OSError: [Errno 28] No space left on device: 'x'\n", "is full"),
        (1, "RuntimeError: can't allocate memory: you tried\n", "out of memory"),
        (-9, "", "killed (signal 9)"),
        (-15, "", "SIGTERM"),
        (3, "nothing of use\n", "exit code 3"),
        (
            1,
            "[rank1]: ValueError: bad\ntorch.distributed.elastic.ChildFailedError: \n",
            "ValueError: bad",
        ),
        # Rank 0 loses rank 1, and says so last.
        (1, f"[rank1]: toolgain.common.errors.StageError: training: it ended\n{LOST}", "it ended."),
        (1, f"[rank1]: ValueError: bad\n{LOST}", "ValueError: bad."),
        (1, LOST, "Connection closed by peer"),
    ],
)
def test_the_cause_of_a_failure_is_found_in_its_log(
    tmp_path: Path, code: int, text: str, said: str
) -> None:
    log = tmp_path / "train.log"
    log.write_text(text)
    assert said in backend.cause(code, log)


@pytest.mark.parametrize(
    ("code", "text", "kind"),
    [
        (1, "toolgain.common.errors.UserError: the prompt of task 1 is too long\n", UserError),
        (1, "[rank1]: toolgain.common.errors.UserError: bad\nx.ChildFailedError: \n", UserError),
        (1, "UserError: survived\nRuntimeError: later\n", StageError),
        (-9, "", StageError),
    ],
)
def test_what_a_program_calls_bad_input_is_bad_input(
    tmp_path: Path, code: int, text: str, kind: type[Exception]
) -> None:
    log = tmp_path / "train.log"
    log.write_text(text)
    assert type(backend.failure(code, log)) is kind


@pytest.mark.parametrize(("writes", "code"), [(True, 1), (False, 0)])
def test_the_end_of_a_training_is_judged_by_what_it_wrote(
    tmp_path: Path, writes: bool, code: int
) -> None:
    """Neither a rank that falls over its end nor an exit code of 0 decides."""
    python = tmp_path / "env/bin/python"
    python.parent.mkdir(parents=True)
    end = """echo '{"step": 4, "stopped": null}' > "$launch/ended.json"\n""" if writes else ""
    python.write_text(
        '#!/bin/sh\nlaunch=$(dirname "$3")\n'
        """echo '{"world_size": 1, "hosts": ["n1"], "gpus": 0, "versions": {}}' """
        f"""> "$launch/processes.json"\n{end}exit {code}\n"""
    )
    python.chmod(0o755)
    folder = tmp_path / "training"
    with Lease(folder) as lease:
        job = TrainingJob(
            name="grpo",
            section=section(trl={"processes": 1, "threads": 1}),
            weights=BASE,
            tasks=tmp_path / "tasks.json",
            train=tmp_path / "train.jsonl",
            validation=tmp_path / "validation.jsonl",
            folder=folder,
            steps=4,
            val_period=4,
            save_period=4,
            nodes=1,
            cluster=ClusterSection(),
            smoke=False,
            stop_at=None,
            environment=tmp_path / "env",
            gym_environment=tmp_path / "gym",
            progress=(),
            lease=lease,
        )
        if writes:
            assert backend.start(job, folder / "logs/exp_001").hosts == ("n1",)
        else:
            with pytest.raises(StageError, match="exit code 0"):
                backend.start(job, folder / "logs/exp_001")


def test_a_folder_of_another_training_is_refused(tmp_path: Path) -> None:
    write_json(tmp_path / "fingerprint.json", {"fingerprint": "other"})
    with pytest.raises(StageError, match="belongs to another training"):
        train._same_fingerprint(tmp_path, "mine")
