"""`cluster`: the cluster, where NeMo RL is on it, and the size of a job."""

from typing import Annotated

from pydantic import Field

from toolgain.config.sections.base import Positive, Section
from toolgain.config.sections.durations import Duration


class NemoRlSite(Section):
    """Where NeMo RL is on this cluster, and how long its parts take here.

    None of it changes what is trained, so a moved checkout or image trains nothing again.
    """

    OF_THE_USER = ()

    root: str | None = Field(None, description="NeMo RL checkout on the shared file system.")
    mounts: list[str] = Field(
        [],
        description="Mounts `src:dst` of the container; the checkout, the work folder, model, "
        "data and hf_home are added automatically.",
    )
    hf_home: str | None = Field(
        None, description="Shared HF_HOME; also holds the converted base model."
    )
    python: str = Field(
        "uv run --no-sync python",
        description="How the container starts Python; `--no-sync` works without a network. "
        "`uv run python` installs again where the checkout's lock file differs from the image's.",
    )
    converter_python: str = Field(
        "/opt/ray_venvs/nemo_rl.models.policy.workers.megatron_policy_worker.MegatronPolicyWorker"
        "/bin/python",
        description="How the container starts Python for the converters of checkpoints: the "
        "image's environment of the Megatron workers, which needs no network; "
        "`uv run --extra mcore python` may want one.",
    )
    vllm_python: str = Field(
        "/opt/ray_venvs/nemo_rl.models.generation.vllm.vllm_worker_async.VllmAsyncGenerationWorker"
        "/bin/python",
        description="Python of the container's vLLM environment, for `toolgain doctor`.",
    )
    cuda_arch_list: str | None = Field(
        None, description="TORCH_CUDA_ARCH_LIST where the image's is wrong, such as `8.0`."
    )
    env: dict[str, str] = Field({}, description="Further environment variables; no secrets.")
    setup_minutes: Annotated[float, Field(ge=0)] = Field(
        45, description="Maximum start-up time: container, conversion of the base model, vLLM."
    )
    step_minutes: Annotated[float, Field(gt=0)] = Field(
        10, description="Maximum time of a step with validation, until steps were measured."
    )
    save_minutes: Annotated[float, Field(ge=0)] = Field(10, description="Maximum time of a save.")
    margin_minutes: Annotated[float, Field(ge=0)] = Field(
        10, description="Time between the last save and the time limit."
    )
    poll_seconds: Annotated[float, Field(gt=0)] = Field(
        20, description="Seconds between two checks of a running training job."
    )


class ClusterSection(Section):
    """Facts of the cluster, and the size of a job."""

    OF_THE_USER = (
        *("account", "partition", "nodes", "train_time", "smoke_time"),
        *("export_time", "export_memory_gb"),
        *("evaluate_time", "evaluate_gpus", "evaluate_cpus", "evaluate_memory_gb"),
    )

    account: str | None = Field(
        None, description="Slurm account; null: SLURM_ACCOUNT, else your default account."
    )
    partition: str | None = Field(
        None, description="Slurm partition; null: SLURM_PARTITION, else the cluster's default."
    )
    nodes: Positive = Field(1, description="Nodes of the training.")
    gpus_per_node: Annotated[int, Field(ge=0)] = Field(
        8, description="GPUs of each node, all of which a training run takes."
    )
    cpus_per_node: Positive = Field(64, description="CPUs of each node that a training run takes.")
    memory_gb_per_node: Positive = Field(
        400, description="Memory on each node that a training run takes, in GB."
    )
    exclusive: bool = Field(True, description="A training run has its nodes to itself.")
    container: str | None = Field(None, description="NeMo RL container image (.sqsh or registry).")
    nemo_rl: NemoRlSite = Field(NemoRlSite(), description="Where NeMo RL is on this cluster.")
    train_time: Duration = Field(
        "1d", description="Time limit of one training job; the next one resumes."
    )
    shortest_time: Duration = Field(
        "10m",
        description="A stage with a shorter time limit is refused: it could not start and save.",
    )
    smoke_time: Duration = Field("1h", description="Time limit of the smoke training.")
    export_time: Duration = Field("2h", description="Time limit of the export.")
    export_memory_gb: Positive = Field(64, description="Memory of the export, in GB.")
    evaluate_time: Duration = Field("8h", description="Time limit of one evaluation job.")
    evaluate_gpus: Annotated[int, Field(ge=0)] | None = Field(
        None,
        description="GPUs of an evaluation; null: tensor_parallel_size x data_parallel_size for "
        "vLLM, else 0.",
    )
    evaluate_cpus: Positive = Field(16, description="CPUs of an evaluation.")
    evaluate_memory_gb: Positive = Field(64, description="Memory of an evaluation, in GB.")
