"""What the container holds on every node of a training run, asked by a small job (`srun`)."""

import os
import re
import shlex
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from toolgain.common.errors import ToolgainError
from toolgain.config.sections import ClusterSection, TrainingSection
from toolgain.serving import tool_parser
from toolgain.slurm.containers import host_environment, in_container, mounts
from toolgain.training.nemo_rl import overrides as ov
from toolgain.training.nemo_rl import plan
from toolgain.training.nemo_rl.preparation import root_of, yaml_file_of
from toolgain.training.nemo_rl.refs import REFS, Ref

PROGRAM = Path(__file__).with_name("container_probe.sh")
MINUTES = 20

ADVICE = {
    "uv": "cluster.nemo_rl.python starts with uv: below /root it is out of reach for a user whom "
    "the container does not map to root (NeMo RL issues 3538, 3574); ask for enroot's root "
    "mapping, or name a Python of the image.",
    "training Python": "cluster.nemo_rl.python does not start.",
    "converters' Python": "cluster.nemo_rl.converter_python is what exports a checkpoint after "
    "the training; name a Python of the image that has these packages.",
    "vLLM": "cluster.nemo_rl.vllm_python is not there; is the image made for training.nemo_rl.ref?",
    "tool parser": "the parser is not made for this vLLM.",
    "writable root": "NeMo RL and Gym write there, and enroot's root is read-only as it comes: set "
    'cluster.nemo_rl.env: {ENROOT_ROOTFS_WRITABLE: "yes"}.',
    "Gym's environments": "they are made at the start of a training run, from a package "
    "index, which does not answer here; make an image with them (NEMO_GYM_PREFETCH_CONFIGS).",
}

Answers = dict[str, dict[str, tuple[bool, str]]]
"""By name of the thing, by node: whether it is there, and what was said."""


@dataclass(frozen=True)
class Probed:
    """One thing, over all nodes."""

    name: str
    ok: bool
    said: str


def probe_lines(training: TrainingSection, cluster: ClusterSection) -> Iterator[Probed]:
    """A line for each thing that a run needs in the container, over all nodes of a training run."""
    ref = REFS[training.nemo_rl.ref]
    try:
        command, root = _command(training, cluster)
    except ToolgainError as error:
        yield Probed("start", False, str(error))
        return
    done = subprocess.run(
        command,
        env=_environment(cluster),
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
        timeout=60 * MINUTES + 300,
    )
    answers = read_probe(done.stdout)
    nodes = sorted({node for by_node in answers.values() for node in by_node})
    if len(nodes) < cluster.nodes:
        last = (done.stderr.strip() or done.stdout.strip() or "it said nothing").splitlines()[-1]
        yield Probed(
            "start",
            False,
            f"{len(nodes)} of {cluster.nodes} nodes answered; `{shlex.join(command[:4])} ...` "
            f"ended with exit code {done.returncode}: {last[:300]}; can the nodes read the image?",
        )
    else:
        yield Probed("start", True, f"the image starts on {', '.join(nodes)}")
    yield from judged(answers, ref)


def _command(training: TrainingSection, cluster: ClusterSection) -> tuple[list[str], Path]:
    nemo, site = training.nemo_rl, cluster.nemo_rl
    root = root_of(nemo, cluster)
    plugin = tool_parser.plugin_path(nemo.tool_parser_plugin)
    base = ov.apply(ov.load_yaml(yaml_file_of(nemo, root)), [])
    # DTensor checkpoints need torch alone.
    megatron = plan.backend_of(base, nemo.policy_backend) == "megatron"
    module = "megatron.bridge" if megatron else "torch"
    words = [
        *("bash", "-c", PROGRAM.read_text(encoding="utf-8"), "probe"),
        *(site.python, site.converter_python, site.vllm_python, module),
        *(str(plugin or ""), nemo.tool_parser or "nemotron_json"),
    ]
    needed = [root, tool_parser.PLUGIN.parent, *([plugin.parent] if plugin else [])]
    step = in_container(words, str(cluster.container), mounts(site.mounts, needed), root)
    count = cluster.nodes
    place = {"--account": cluster.account, "--partition": cluster.partition}
    options = [f"--nodes={count}", f"--ntasks={count}", "--ntasks-per-node=1"]
    options += [f"{name}={value}" for name, value in place.items() if value]
    options += [f"--time={MINUTES}", "--job-name=toolgain-doctor", "--kill-on-bad-exit=0"]
    replaced = ("--overlap", "--nodes=1", "--ntasks=1")
    return [step[0], *options, *(word for word in step[1:] if word not in replaced)], root


def _environment(cluster: ClusterSection) -> dict[str, str]:
    kept = ("SLURM_ACCOUNT", "SLURM_PARTITION")
    asked = {name: os.environ[name] for name in kept if name in os.environ}
    return host_environment(os.environ) | {"HF_HUB_OFFLINE": "1"} | asked | cluster.nemo_rl.env


def read_probe(text: str) -> Answers:
    """The probe's lines; all else that the containers said is passed over."""
    found: Answers = {}
    for line in text.splitlines():
        parts = line.split("\t", 4)
        if len(parts) == 5 and parts[0] == "probe":
            _, node, name, verdict, said = parts
            found.setdefault(name, {})[node] = (verdict == "yes", said)
    return found


def judged(answers: Answers, ref: Ref) -> Iterator[Probed]:
    """Each thing over all nodes: fine where it is on every one of them.

    A package index is needed only by a node that has no environments for Gym's servers.
    """
    index = answers.get("package index", {})
    for name, by_node in answers.items():
        if name == "package index":
            reached = sum(ok for ok, _ in by_node.values())
            said = "" if reached else "; the environments of Gym's servers must be in the image"
            yield Probed(name, True, f"answers on {reached} of {len(by_node)} nodes{said}")
            continue
        good = {
            node: ok or (name == "Gym's environments" and index.get(node, (False, ""))[0])
            for node, (ok, _) in by_node.items()
        }
        bad = {node: by_node[node][1] for node, fine in sorted(good.items()) if not fine}
        if bad:
            yield Probed(name, False, f"{_by_answer(bad)}; {ADVICE[name]}")
        else:
            yield _agreeing(name, by_node, ref)


def _by_answer(said: Mapping[str, str]) -> str:
    """Each answer once, with the nodes that gave it."""
    nodes: dict[str, list[str]] = {}
    for node, text in said.items():
        nodes.setdefault(text or "it said nothing", []).append(node)
    return "; ".join(f"{', '.join(names)}: {text}" for text, names in nodes.items())


def _agreeing(name: str, by_node: Mapping[str, tuple[bool, str]], ref: Ref) -> Probed:
    said = sorted({text for _, text in by_node.values()})
    if name == "vLLM" and ref.vllm:
        other = [text for text in said if re.split(r"[+]", text)[0] != ref.vllm]
        if other:
            return Probed(
                name,
                False,
                f"the image has vLLM {other[0]}, but NeMo RL {ref.name} comes with {ref.vllm}; "
                "image and training.nemo_rl.ref do not belong together.",
            )
    return Probed(name, True, f"{' | '.join(said) or 'there'} ({len(by_node)} nodes)")
