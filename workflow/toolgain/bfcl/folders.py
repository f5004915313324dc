"""Where the result and score files of one model lie, in the layouts that people have.

    ROOT/result/MODEL/BFCL_v3_simple_result.json    nvidia-bfcl, bfcl-eval v3; score/ beside result/
    ROOT/result/MODEL/non_live/BFCL_v4_..._result.json                         bfcl-eval v4
    JOB/artifacts/result/MODEL/...                                 NeMo Evaluator's launcher

A path may name the root, its result/, the launcher's job, or the model's folder below result/. A
model called ORG/MODEL has a folder in a folder.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Literal

from toolgain.common.errors import UserError

Version = Literal["v3", "v4"]
VERSIONS: tuple[Version, ...] = ("v3", "v4")
DEEPEST = 7
"""Folders below result/: of a model ORG/MODEL and of v4's agentic/memory/kv, and the file."""
V4_GROUPS = ("non_live", "live", "multi_turn", "agentic")
"""The folders below a model's; bfcl-eval 2025.8.25."""
READ = (
    "a root of nvidia-bfcl or bfcl-eval with result/MODEL/ and score/MODEL/, a job folder of "
    "NeMo Evaluator's launcher (artifacts/), or one model's folder below result/"
)
"""What is read, for messages."""


@dataclass(frozen=True)
class HarnessFolder:
    """The files of one model."""

    root: Path
    """Holds result/ and score/."""
    model: str
    version: Version

    @property
    def results(self) -> Path:
        """The folder of the model's result files."""
        return self.root / "result" / self.model

    @property
    def scores(self) -> Path:
        """The folder of the model's score files."""
        return self.root / "score" / self.model

    @property
    def prefix(self) -> str:
        """How the names of the files begin."""
        return f"BFCL_{self.version}_"

    def present(self, categories: Iterable[str]) -> list[str]:
        """The categories that were answered.

        Raises:
            UserError: one has scores and no answers, or is a link to nowhere.
        """
        found = []
        for category in categories:
            answers = self.result_file(category)
            if answers.exists():
                found.append(category)
                continue
            scores = self._file(self.scores, f"{self.prefix}{category}_score.json")
            if answers.is_symlink() or scores.exists():
                packed = answers.with_name(f"{answers.name}.gz").exists()
                kind = "a packed file" if packed else "scores"
                raise UserError(
                    f"harness folder: {self.root} has "
                    f"{'a link to nowhere' if answers.is_symlink() else kind} of {category} "
                    f"and no answers ({answers}); scores are read beside the answers that they "
                    f"are of. {'Unpack it' if packed else 'Bring the file back'}, or remove the "
                    "score file to leave the category out."
                )
        return found

    def result_file(self, category: str) -> Path:
        """The result file of `category`; v4 keeps groups in folders of their own."""
        return self._file(self.results, f"{self.prefix}{category}_result.json")

    def score_file(self, category: str) -> Path:
        """The score file of `category`.

        Raises:
            UserError: the folder was not scored.
        """
        path = self._file(self.scores, f"{self.prefix}{category}_score.json")
        if not path.exists():
            raise UserError(
                f"harness folder: {self.root} has results of {category} and no score of them "
                f"({path}); run `bfcl evaluate` on it first."
            )
        return path

    def _file(self, folder: Path, name: str) -> Path:
        if self.version == "v3":
            return folder / name
        return next(folder.rglob(name), folder / name)


def models_of(path: Path) -> list[HarnessFolder]:
    """Every model's files at `path`, by name.

    Raises:
        UserError: there is none, with the layouts that are read.
    """
    root, below = _root(path)
    if root is not None:
        found = sorted(
            {
                HarnessFolder(root, *named)
                for depth in range(DEEPEST)
                for file in below.glob("*/" * depth + "BFCL_v*_result.json")
                if (named := _named(file.relative_to(root / "result")))
            },
            key=lambda one: (one.model, one.version),
        )
        for one, other in pairwise(found):
            if one.model == other.model:
                raise UserError(
                    f"harness folder: {one.results} holds results of BFCL v3 and of v4, whose "
                    "scores are not the same; move one of the two to a root of its own."
                )
        if found:
            return found
    raise UserError(f"harness folder: {path} holds no BFCL results. {_hint(path)}")


def one_model(path: Path, model: str | None = None) -> HarnessFolder:
    """The files of one model at `path`: of `model`, or of the only one.

    Raises:
        UserError: there is no such model, or there are several and none is named.
    """
    found = models_of(path)
    names = [one.model for one in found]
    if model is not None:
        if model not in names:
            raise UserError(
                f"harness folder: {path} holds no model {model!r}; it has {', '.join(names)}."
            )
        return found[names.index(model)]
    if len(found) > 1:
        raise UserError(
            f"harness folder: {path} holds {len(found)} models ({', '.join(names)}); name one as "
            f"{path}/result/MODEL, or compare with --baseline and --trained."
        )
    return found[0]


def is_harness_folder(path: Path) -> bool:
    """Whether `path` looks like a folder of results, of whichever layout."""
    return _root(path)[0] is not None


def is_packed(path: Path) -> bool:
    """Whether `path` is an archive, by its name."""
    return path.name.lower().endswith((".zip", ".tar", ".tgz", ".tar.gz", ".tar.xz", ".7z"))


def _root(path: Path) -> tuple[Path | None, Path]:
    """The folder that holds result/ and score/, and the part of result/ that was meant."""
    for root in (path, path / "artifacts"):
        if (root / "result").is_dir():
            return root, root / "result"
    for above in (path, *path.parents[:2]):
        if above.name == "result":
            return above.parent, path
    return None, path


def _named(file: Path) -> tuple[str, Version] | None:
    """The model and the version of BFCL of a result file, by its path below result/."""
    version = next((one for one in VERSIONS if file.name.startswith(f"BFCL_{one}_")), None)
    folders = file.parts[:-1]
    if version is None or not folders:
        return None
    if version == "v4":
        group = next((n for n, name in enumerate(folders) if n and name in V4_GROUPS), 1)
        folders = folders[:group]
    return "/".join(folders), version


def _hint(path: Path) -> str:
    """What `path` seems to be, and what is read."""
    said = ""
    roots = sorted(inner.parent.name for inner in path.glob("*/result") if inner.is_dir())
    if next(path.rglob("BFCL_v*_result.json.gz"), None):
        said = "Its files are packed; unpack them with `gunzip -r` first. "
    elif packed := next((one for one in path.glob("*") if is_packed(one)), None):
        said = f"It holds {packed.name}, which is packed; unpack it first. "
    elif roots:
        said = f"It holds several roots; give one of them: {', '.join(roots[:10])}. "
    elif (path / "score").is_dir():
        said = "It has score/ alone, and the answers lie in result/. "
    elif next(path.glob("*.eval"), None):
        said = "It looks like logs of inspect_ai; give the .eval or .json files themselves. "
    elif next(path.glob("reports/**/*.json"), None):
        said = "It looks like EvalScope's, whose reports hold no single answers. "
    elif path.name == "score" or path.parent.name == "score":
        said = "It is a folder of scores; give the root above it. "
    return f"{said}What is read: {READ}."
