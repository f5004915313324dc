"""Where the result and score files of one model lie, in the layouts that people have.

    ROOT/result/MODEL/BFCL_v3_simple_result.json    nvidia-bfcl, bfcl-eval v3; score/ beside result/
    ROOT/result/MODEL/non_live/BFCL_v4_..._result.json                         bfcl-eval v4
    JOB/artifacts/result/MODEL/...                                 NeMo Evaluator's launcher

A path may name the root, the launcher's job, or the model's folder below result/.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from toolgain.common.errors import UserError

Version = Literal["v3", "v4"]
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
        return self.root / "result" / self.model

    @property
    def scores(self) -> Path:
        return self.root / "score" / self.model

    @property
    def prefix(self) -> str:
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
                raise UserError(
                    f"harness folder: {self.root} has "
                    f"{'a link to nowhere' if answers.is_symlink() else 'scores'} of {category} "
                    f"and no answers ({answers}); scores are read beside the answers that they "
                    "are of. Bring the file back, or remove the score file to leave the category "
                    "out."
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
    root = next((root for root in (path, path / "artifacts") if (root / "result").is_dir()), None)
    if root is not None:
        folders = sorted(entry for entry in (root / "result").iterdir() if entry.is_dir())
        found = [one for folder in folders if (one := _model(root, folder))]
        if found:
            return found
    elif path.parent.name == "result" and (one := _model(path.parent.parent, path)):
        return [one]
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
    return (
        any((folder / "result").is_dir() for folder in (path, path / "artifacts"))
        or path.parent.name == "result"
    )


def _model(root: Path, folder: Path) -> HarnessFolder | None:
    versions: tuple[Version, ...] = ("v3", "v4")
    for version in versions:
        if next(folder.rglob(f"BFCL_{version}_*_result.json"), None):
            return HarnessFolder(root, folder.name, version)
    return None


def _hint(path: Path) -> str:
    """What `path` seems to be, and what is read."""
    said = ""
    if next(path.rglob("BFCL_v*_result.json.gz"), None):
        said = "Its files are packed; unpack them with `gunzip -r` first. "
    elif (path / "score").is_dir():
        said = "It has score/ alone, and the answers lie in result/. "
    elif next(path.glob("*.eval"), None):
        said = "It looks like logs of inspect_evals, whose BFCL draws other items. "
    elif next(path.glob("reports/**/*.json"), None):
        said = "It looks like EvalScope's, whose reports hold no single answers. "
    elif path.name == "score" or path.parent.name == "score":
        said = "It is a folder of scores; give the root above it. "
    return f"{said}What is read: {READ}."
