"""The model stage: the base model, checked before anything expensive starts."""

from pathlib import Path
from typing import Any

from toolgain.errors import UserError
from toolgain.files import digest, file_digest, write_json

NEEDED = ("config.json", "tokenizer_config.json")


def files_of(folder: Path) -> dict[str, str]:
    """SHA-256 of every file that decides what the model answers, by name.

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
    kept = (".json", ".jinja", ".safetensors", ".txt", ".model", ".py")
    names = sorted(path for path in folder.iterdir() if path.is_file() and path.suffix in kept)
    return {path.name: file_digest(path) for path in names}


def run(section: dict[str, Any], out: Path) -> None:
    """Write `out`: path, digest and name of the model that is evaluated and trained from."""
    folder = Path(section["path"]).resolve()
    files = files_of(folder)
    write_json(
        out,
        {
            "schema": 1,
            "path": str(folder),
            "digest": digest(files),
            "name": section["name"] or folder.name,
            "files": files,
        },
    )
