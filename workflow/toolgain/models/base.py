"""The model stage: the base model, checked before anything expensive starts."""

import json
from pathlib import Path

from toolgain.common.errors import UserError
from toolgain.common.files import digest, file_digest
from toolgain.config.sections import ModelSection
from toolgain.models.remote_code import check_remote_code
from toolgain.models.weights import folder_problem
from toolgain.records.model import Model
from toolgain.records.record import write_record

NEEDED = ("config.json", "tokenizer_config.json")


def check_files(folder: Path) -> None:
    """Refuse a folder that holds no Hugging Face model, without reading the weights.

    Raises:
        UserError: `folder` is not a Hugging Face model folder with weights.
    """
    if not folder.is_dir():
        raise UserError(
            f"model.path: {folder} is not a folder; name a Hugging Face model folder on this disk."
        )
    missing = [name for name in NEEDED if not (folder / name).is_file()]
    if missing:
        raise UserError(f"model.path: {folder} has no {', '.join(missing)}.")
    if not list(folder.glob("*.safetensors")):
        raise UserError(f"model.path: {folder} holds no *.safetensors weights.")
    for name in NEEDED:
        _check_settings(folder / name)
    if problem := folder_problem(folder):
        raise UserError(f"model.path: {folder}: {problem}.")


def _check_settings(path: Path) -> None:
    """Refuse a JSON file of the model that holds no object, such as a download's error page."""
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(
            f"model.path: {path} is no JSON ({error}); download the model again, with "
            "`git lfs pull` where it came from Git."
        ) from None
    if not isinstance(settings, dict) or (path.name == "config.json" and not settings):
        raise UserError(f"model.path: {path} holds no settings of a model; download it again.")


def files_of(folder: Path) -> dict[str, str]:
    """SHA-256 of every file that decides what the model answers, by name.

    Raises:
        UserError: `folder` is not a Hugging Face model folder with weights.
    """
    check_files(folder)
    kept = (".json", ".jinja", ".safetensors", ".txt", ".model", ".py")
    names = sorted(path for path in folder.iterdir() if path.is_file() and path.suffix in kept)
    return {path.name: file_digest(path) for path in names}


def record_base_model(section: ModelSection, out: Path) -> None:
    """Write `out`: path, digest and name of the model that is evaluated and trained from.

    With `patch` or `chat_template` that is a private copy by links, made beside the other work.
    """
    folder = Path(section.path).resolve()
    files = files_of(folder)
    check_remote_code(folder, section.trust_remote_code, "model.trust_remote_code")
    if section.patch != "none" or section.chat_template:
        folder = _private_copy(section, folder, files, out.resolve().parent / "work" / "models")
        files = files_of(folder)
    name = section.name or Path(section.path).resolve().name
    write_record(
        out,
        Model(
            path=str(folder),
            digest=digest(files),
            name=name,
            files=files,
            trust_remote_code=section.trust_remote_code,
        ),
    )


def _private_copy(section: ModelSection, folder: Path, files: dict[str, str], work: Path) -> Path:
    from toolgain.models.chat_template import private_copy

    text = None
    if section.chat_template:
        path = Path(section.chat_template)
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"model.chat_template: {path} cannot be read: {error}.") from error
    key = digest({"files": files, "patch": section.patch, "template": text})
    return private_copy(folder, work / f"{folder.name}-{key[:12]}", section.patch, text)
