"""The command line: one verb per rule, each usable on its own.

Heavy modules are imported inside the verbs, so that `--help` and the start of every Slurm job
stay quick. Exit codes: `toolgain.common.errors.ExitCode`.
"""

import gc
import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import click

from toolgain import __version__
from toolgain.common import failures, package
from toolgain.common.errors import ExitCode, StageError, ToolgainError, of_system
from toolgain.common.files import utf8_name
from toolgain.common.screen import TerminalFormatter, for_terminal

if TYPE_CHECKING:
    from toolgain.config.sections import ClusterSection


class NamedPath(click.Path):
    """A path whose name can be written into a record."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The path, or a usage error where its bytes are not UTF-8."""
        path = super().convert(value, param, ctx)
        whole = Path(os.fsdecode(path)).absolute()
        if not utf8_name(whole):
            self.fail(f"the name {str(whole)!a} is not UTF-8; rename it", param, ctx)
        # Before the work, not when its result is to be written.
        if os.path.exists(path):  # noqa: PTH110
            if not self.file_okay and not os.path.isdir(path):  # noqa: PTH112
                self.fail(f"{str(path)!r} is not a folder", param, ctx)
            is_output = param is not None and param.name == "out" and not self.dir_okay
            if is_output and not os.path.isfile(path):  # noqa: PTH113
                self.fail(f"{str(path)!r} is there and is no file", param, ctx)
        return path


FILE = NamedPath(path_type=Path, dir_okay=False)
FOLDER = NamedPath(path_type=Path, file_okay=False)
PATH = NamedPath(path_type=Path)
CONFIG = Path("config/config.yaml")
Verb = TypeVar("Verb", bound=Callable[..., object])


def _environment(name: str, use: str) -> Callable[[Verb], Verb]:
    return click.option(
        f"--{name}-env",
        type=FOLDER,
        default=lambda: package.environment(name),
        show_default=f".venvs/{name} of the checkout, or of TOOLGAIN_HOME",
        help=f"Python environment of {use}",
    )


bfcl_env = _environment("bfcl", "the harness.")
gym_env = _environment("gym", "NeMo Gym; `make setup-gym` makes it.")
trl_env = _environment("trl", "TRL and `transformers serve`.")
metric = click.option(
    "--metric",
    multiple=True,
    help="Name of the score in samples of lm-evaluation-harness (.jsonl), or NAME,FILTER; or of "
    "the scorer in a log of inspect_ai. May be repeated: the first that a table has is taken.",
)
cluster_file = click.option(
    "--cluster", type=FILE, help="Frozen cluster section; read with backend nemo_rl."
)
results_folder = click.option(
    "--results",
    type=FOLDER,
    default=Path("results"),
    show_default=True,
    help="Folder of the workflow's results.",
)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__)
def cli() -> None:
    """Did the training make the model better at calling tools, and how sure are we?

    Exit codes: 0 ok; 1 a stage failed; 2 bad input; 3 not valid, not comparable or not trainable;
    4 the verdict does not meet the requirement; 5 the model regressed; 75 stopped in time, run
    again to resume.
    """


@cli.command()
@click.option("--section", required=True, help="The stage's section, as JSON.")
@click.option("--out", type=FILE, required=True, help="File to write.")
def freeze(section: str, out: Path) -> None:
    """Write the part of the configuration that one stage may see."""
    from toolgain.common.files import write_text

    write_text(out, section + "\n")


@cli.command()
@click.option("--config", type=FILE, required=True, help="Frozen model section.")
@click.option("--out", type=FILE, required=True, help="Record to write.")
def model(config: Path, out: Path) -> None:
    """Check the base model and record its path and digest."""
    from toolgain.config.freeze import read_section
    from toolgain.config.sections import ModelSection
    from toolgain.models import base as stage

    stage.record_base_model(read_section(ModelSection, config), out)


@cli.command()
@click.option("--config", type=FILE, required=True, help="Frozen training section.")
@click.option("--out", type=FOLDER, required=True, help="Folder for the tasks and tasks.json.")
@cluster_file
@bfcl_env
def tasks(config: Path, out: Path, cluster: Path | None, bfcl_env: Path) -> None:
    """Make the training tasks and compare them with BFCL's items."""
    from toolgain.bfcl.data import installed_data
    from toolgain.config.freeze import read_section
    from toolgain.config.sections import TrainingSection
    from toolgain.training.backend import trainer

    section = read_section(TrainingSection, config)
    trainer(section).make_tasks(section, _cluster(cluster), out, installed_data(bfcl_env))


@cli.command()
@click.option(
    "--config",
    type=FILE,
    required=True,
    help="Workflow config, or frozen training section (.json).",
)
@click.option("--run", help="Name of the run in the config; default: the first.")
@click.option("--rows", type=click.IntRange(1), help="Rows that the model plays; default: 32.")
@click.option("--rollouts", type=click.IntRange(2), help="Rollouts of each row; default: 4.")
@click.option("--endpoint", help="URL of an OpenAI-compatible server, up to /v1.")
@click.option("--model", help="Model name at the endpoint.")
@click.option("--api-key-env", help="Environment variable that holds the endpoint's key.")
@click.option("--weights", type=PATH, help="Model folder, or JSON with its path and digest.")
@click.option("--tasks", type=FILE, help="tasks.json, with the rows beside it.")
@click.option("--evaluation", type=FILE, help="Frozen evaluation section, for its server.")
@click.option(
    "--out", type=FILE, default=Path("rehearsal.json"), show_default=True, help="Record to write."
)
@cluster_file
@gym_env
@trl_env
def rehearse(
    rows: int | None,
    rollouts: int | None,
    out: Path,
    gym_env: Path,
    trl_env: Path,
    **given: Any,
) -> None:
    """Play rows of a NeMo Gym environment before any training.

    Starts the environment's real servers, plays every row once with a model that does nothing, and
    a few rows with the model. Exit code 3: a training run on this would not work; a line says why.
    """
    from toolgain.rehearsal import rehearse as stage
    from toolgain.rehearsal.inputs import Given

    # Rows and what a model answered are nobody else's business.
    _private_files()
    stage.rehearse_environment(
        Given(**given), out, rows=rows, rollouts=rollouts, gym_env=gym_env, trl_env=trl_env
    )


@cli.command()
@click.option(
    "--config",
    "configs",
    type=FILE,
    multiple=True,
    help="Frozen training section; with --show-command a workflow configuration, by default "
    "config/config.yaml, or several that go on top of each other: --config A --config B.",
)
@click.option("--weights", type=FILE, help="JSON with path and digest of the base.")
@click.option("--tasks", "tasks_file", type=FILE, help="tasks.json of the tasks.")
@click.option("--run", "name", help="Name of the run.")
@click.option("--out", type=FILE, help="Manifest, written last.")
@click.option("--nodes", type=click.IntRange(1), help="Nodes of the allocation; default: 1.")
@click.option("--smoke", is_flag=True, help="Only the few steps that gate the long training.")
@click.option(
    "--show-command",
    is_flag=True,
    help="Train nothing: print what the job of a NeMo RL run hands to ray.sub (command, "
    "environment, mounts, overrides, time budget).",
)
@cluster_file
@trl_env
@gym_env
def train(
    configs: tuple[Path, ...],
    cluster: Path | None,
    weights: Path | None,
    tasks_file: Path | None,
    name: str | None,
    out: Path | None,
    nodes: int | None,
    smoke: bool,
    show_command: bool,
    trl_env: Path,
    gym_env: Path,
) -> None:
    """Train with GRPO; resumes from the last complete checkpoint.

    --config, --weights, --tasks, --run and --out are required, except with --show-command.
    """
    from toolgain.config.freeze import read_section
    from toolgain.config.sections import TrainingSection, load_config
    from toolgain.training import train as stage

    if show_command:
        from toolgain.head import handovers

        handovers.print_all(load_config(*(configs or (CONFIG,))), name, nodes, smoke)
        return
    if len(configs) > 1:
        raise click.UsageError("--config: a frozen section is one file.")
    config = configs[0] if configs else None
    section = read_section(TrainingSection, _given(config, "--config"))
    stage.train_run(
        section,
        weights=_given(weights, "--weights"),
        tasks=_given(tasks_file, "--tasks"),
        name=_given(name, "--run"),
        out=_given(out, "--out"),
        nodes=nodes or 1,
        smoke=smoke,
        trl_env=trl_env,
        gym_env=gym_env,
        cluster=_cluster(cluster),
    )


@cli.command()
@click.option("--config", type=FILE, required=True, help="Frozen evaluation section.")
@click.option("--weights", type=FILE, required=True, help="JSON with path and digest of the base.")
@click.option("--settings", default="", help="Digest of the settings, for the record.")
@click.option("--out", type=FILE, required=True, help="Record, written where the trial passed.")
@bfcl_env
@trl_env
def trial(
    config: Path, weights: Path, settings: str, out: Path, bfcl_env: Path, trl_env: Path
) -> None:
    """Try an evaluation: one item of each category.

    Before any training. Exit code 2: served like this, the model's evaluation could not be valid.
    """
    from toolgain.evaluation import trial as stage

    stage.try_evaluation(out, config, weights, settings, bfcl_env, trl_env)


@cli.command()
@click.argument("checkpoints", type=PATH)
@click.option("--out", type=FILE, required=True, help="Record to write (best.json).")
def select(checkpoints: Path, out: Path) -> None:
    """Choose the best checkpoint by validation accuracy alone.

    CHECKPOINTS is a checkpoint folder or the manifest of a run.
    """
    from toolgain.checkpoint import select

    select.select_checkpoint(checkpoints, out)


@cli.command()
@click.option("--best", type=FILE, required=True, help="The selection (best.json).")
@click.option("--base", type=FILE, required=True, help="JSON with path and digest of the base.")
@click.option("--out", type=FILE, required=True, help="Manifest; the model goes beside it.")
@cluster_file
@trl_env
def export(best: Path, base: Path, out: Path, cluster: Path | None, trl_env: Path) -> None:
    """Export the chosen checkpoint to Hugging Face format."""
    from toolgain.checkpoint import export as stage

    stage.export_checkpoint(best, base, out, trl_env, cluster=_cluster(cluster))


@cli.command()
@click.option("--config", type=FILE, help="Frozen evaluation section, or a workflow config.")
@click.option("--weights", type=PATH, help="Model folder, or JSON with its path and digest.")
@click.option("--endpoint", help="URL of an OpenAI-compatible server, up to /v1.")
@click.option("--model", "model_name", help="Model name at the endpoint.")
@click.option("--api-key-env", help="Environment variable that holds the endpoint's key.")
@click.option("--subset", type=int, help="Items per category; default: all.")
@click.option(
    "--trust-remote-code", is_flag=True, help="Let vLLM run the model folder's own Python code."
)
@click.option("--out", type=FOLDER, required=True, help="Folder for the results.")
@click.option("--allow-invalid", is_flag=True, help="Exit code 0 even where it is not valid.")
@bfcl_env
@trl_env
def evaluate(out: Path, **options: Any) -> None:
    """Evaluate a model on BFCL v3.

    Exit code 3: the evaluation is not valid.
    """
    from toolgain.evaluation import evaluate as stage

    # What an endpoint answers is nobody else's business.
    _private_files()
    stage.evaluate_model(out, **options)


@cli.command()
@click.argument("folder", type=FOLDER)
@bfcl_env
def score(folder: Path, bfcl_env: Path) -> None:
    """Score a harness result folder with the official formula.

    FOLDER holds the harness's result/ and score/. The scores go to standard output as JSON, in
    percent; of a root with several models, every model's by name.
    """
    import json

    from toolgain.bfcl import results, v4
    from toolgain.bfcl.data import installed_data
    from toolgain.bfcl.folders import models_of

    with _nothing_is_garbage():
        found = {
            one.model: v4.score_v4(one)
            if one.version == "v4"
            else results.score_folder(one, installed_data(bfcl_env))
            for one in models_of(folder)
        }
    click.echo(json.dumps(found if len(found) > 1 else next(iter(found.values())), indent=1))


@cli.command()
@click.argument("folders", type=PATH, nargs=-1, required=True)
@click.option("--baseline", help="Name of the model before, where FOLDERS is one root of many.")
@click.option("--trained", multiple=True, help="Name of a model after, likewise; may be repeated.")
@metric
@click.option(
    "--rescore", is_flag=True, help="Score the answers of BFCL folders again, by nvidia-bfcl."
)
@click.option("--primary", help="Take the verdict from a group, such as non_live.")
@click.option("--config", type=FILE, help="Frozen comparison section.")
@click.option(
    "--out", type=FILE, default=Path("comparison.json"), show_default=True, help="File to write."
)
@bfcl_env
def compare(
    folders: tuple[Path, ...],
    baseline: str | None,
    trained: tuple[str, ...],
    metric: tuple[str, ...],
    primary: str | None,
    rescore: bool,
    config: Path | None,
    out: Path,
    bfcl_env: Path,
) -> None:
    """Compare evaluations before and after, item by item.

    FOLDERS are the evaluation before and one or more after: of toolgain, or the folders of a BFCL
    harness (docs/compare.md). Or one result root, with --baseline and --trained. Or two tables of
    any benchmark: .csv, samples of lm-evaluation-harness (.jsonl), or logs of inspect_ai (.json,
    .eval).
    """
    _numpy_on_one_thread()
    from toolgain.comparison import compare, tables
    from toolgain.config.freeze import read_section
    from toolgain.config.sections import ComparisonSection

    section = read_section(ComparisonSection, config) if config else ComparisonSection()
    # A folder may be called `before.csv`.
    if len(folders) == 2 and all(tables.is_table(one) and not one.is_dir() for one in folders):
        found = tables.compare_tables(*folders, metric, section.alpha)
        tables.write(found, out)
        click.echo(" ".join([found.sentence, *found.notes]))
        return
    before, *after = compare.chosen(folders, baseline, trained)
    with _nothing_is_garbage():
        if not rescore:
            compare.compare_folders(before, after, section, out, bfcl_env, primary)
            return
        from toolgain.evaluation.rescore import rescorer

        with rescorer(bfcl_env) as again:
            compare.compare_folders(before, after, section, out, bfcl_env, primary, again)


@cli.command()
@click.argument("comparison", type=FILE)
@click.option(
    "--require",
    type=click.Choice(["improved", "not_regressed"]),
    default="improved",
    show_default=True,
    help="What gives exit code 0.",
)
def verdict(comparison: Path, require: str) -> None:
    """Print the verdict of a comparison.

    Exit codes: 0 requirement met, 3 not comparable, 4 not met, 5 regressed.
    """
    from toolgain.comparison import compare as stage

    sys.exit(stage.require_verdict(comparison, require))


@cli.command()
@click.argument("comparison", type=FILE)
@results_folder
@click.option(
    "--also",
    type=FILE,
    multiple=True,
    help="A comparison of two tables, shown as also measured; may be repeated.",
)
@click.option(
    "--also-tables",
    type=FILE,
    nargs=2,
    multiple=True,
    metavar="BEFORE AFTER",
    help="The same of two tables that `toolgain compare` reads; may be repeated.",
)
@metric
@click.option("--config", type=FILE, help="Frozen report section.")
@click.option(
    "--data",
    type=FOLDER,
    help="Data folder that plain BFCL folders were evaluated with, such as bfcl_eval/data; shows "
    "the questions that the folders do not hold.",
)
@click.option(
    "--out", type=FILE, required=True, help="HTML file to write; the Markdown goes beside it."
)
@bfcl_env
def report(
    comparison: Path,
    results: Path,
    also: tuple[Path, ...],
    also_tables: tuple[tuple[Path, Path], ...],
    metric: tuple[str, ...],
    config: Path | None,
    data: Path | None,
    out: Path,
    bfcl_env: Path,
) -> None:
    """Write the comparison report as HTML and Markdown.

    COMPARISON is what `toolgain compare` wrote, also of tables or by group.
    """
    from toolgain.comparison import record, tables
    from toolgain.config.freeze import read_section
    from toolgain.config.sections import ReportSection
    from toolgain.report import render
    from toolgain.report.questions import BfclData

    section = read_section(ReportSection, config) if config else ReportSection()
    with _nothing_is_garbage():
        pairs = {}
        if also_tables:
            alpha = record.read_any(comparison).alpha
            pairs = tables.compare_pairs(also_tables, metric, alpha)
        render.write_report(
            comparison, results, section, out, also, pairs, BfclData(bfcl_env, data)
        )


@cli.command()
@results_folder
@click.option("--watch", is_flag=True, help="Refresh every few seconds.")
def status(results: Path, watch: bool) -> None:
    """Show where every stage stands."""
    from toolgain.head import status as stage

    stage.show_status(results, watch)


@cli.command("demo-model")
@click.option("--out", type=FOLDER, required=True, help="Folder of the model to write.")
@click.option("--seed", type=int, default=1, show_default=True, help="Seed of text and weights.")
@click.option(
    "--device",
    type=click.Choice(["cpu", "cuda"]),
    default="cpu",
    show_default=True,
    help="Where it trains.",
)
@click.option(
    "--workers", type=int, default=0, show_default=True, help="Processes that generate text."
)
@click.option("--threads", type=int, default=2, show_default=True, help="CPU threads.")
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="KEY=VALUE",
    help="Change a setting, such as tokens=...",
)
@trl_env
def demo_model(
    out: Path,
    seed: int,
    device: str,
    workers: int,
    threads: int,
    settings: tuple[str, ...],
    trl_env: Path,
) -> None:
    """Pre-train the demo model from its seed."""
    from toolgain.demo_model import stage

    stage.pretrain_demo_model(out, seed, trl_env, settings, threads, workers, device)


@cli.command()
@click.option(
    "--config",
    "configs",
    type=FILE,
    multiple=True,
    default=(CONFIG,),
    show_default=True,
    help="The workflow configuration; a recipe goes on top of it: --config A --config B.",
)
@click.option("--container-job", is_flag=True, help="Also look inside the container, with srun.")
def doctor(configs: tuple[Path, ...], container_job: bool) -> None:
    """Check everything that a run needs; say what to do."""
    from toolgain.head import doctor as stage

    sys.exit(stage.print_checks(configs, container_job))


@contextmanager
def _nothing_is_garbage() -> Iterator[None]:
    """Do not look for garbage.

    The items of twenty runs are hundreds of thousands of objects that stay; going over them again
    and again takes a fifth of a report's time, and half of the time of reading folders.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


Value = TypeVar("Value")


def _given(value: Value | None, option: str) -> Value:
    """The value of an option that is needed here."""
    if value is None:
        raise click.UsageError(f"Missing option '{option}'.")
    return value


def _cluster(path: Path | None) -> "ClusterSection":
    """The cluster section; its defaults where none is given."""
    from toolgain.config.freeze import read_section
    from toolgain.config.sections import ClusterSection

    return read_section(ClusterSection, path) if path else ClusterSection()


def _numpy_on_one_thread() -> None:
    """Import numpy with one thread for its products, unless the user says otherwise.

    Threads that share products as small as ours mostly wait for each other, and on a busy machine
    that alone is a second of processor time.
    """
    setting = "OPENBLAS_NUM_THREADS"
    if setting not in os.environ:
        os.environ[setting] = "1"
        import numpy  # noqa: F401

        # Programs that we start decide for themselves.
        del os.environ[setting]


def _private_files() -> None:
    """Until the verb ends, no other user of the machine can read what it writes."""
    before = os.umask(0o077)
    os.umask(before | 0o077)
    click.get_current_context().call_on_close(lambda: os.umask(before))


def _fail(error: ToolgainError) -> NoReturn:
    """End with the error's line and exit code."""
    message = " ".join(str(error).split())
    failures.record(failures.Failure(error.exit_code, message))
    click.echo(f"{failures.MARK}{for_terminal(message)}", err=True)
    sys.exit(error.exit_code)


def main() -> None:
    """Run the command line; expected failures end as one line and an exit code."""
    shown = logging.StreamHandler(sys.stderr)
    shown.setFormatter(TerminalFormatter("%(asctime)s %(message)s", "%H:%M:%S"))
    logging.basicConfig(level=logging.INFO, handlers=[shown])
    logging.getLogger("httpx").setLevel(logging.WARNING)
    try:
        cli.main(standalone_mode=False)
    except ToolgainError as error:
        _fail(error)
    except OSError as error:
        _fail(of_system(error))
    except MemoryError:
        _fail(StageError("memory ran out."))
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        sys.exit(ExitCode.BAD_INPUT)
    except click.ClickException as error:
        said = " ".join(error.format_message().split())
        where = error.ctx.command_path if isinstance(error, click.UsageError) and error.ctx else ""
        hint = f" (`{where} --help`)" if where else ""
        click.echo(f"{failures.MARK}{said}{hint}", err=True)
        sys.exit(ExitCode.BAD_INPUT)
    except click.Abort:
        sys.exit(130)
