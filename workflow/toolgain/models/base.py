"""The model stage: the base model, checked before anything expensive starts."""

from pathlib import Path

from toolgain.common.errors import UserError
from toolgain.common.files import digest, file_digest, read_text, utf8_name
from toolgain.config.sections import ModelSection
from toolgain.models.chat_template import patched, private_copy
from toolgain.models.endings import check_endings
from toolgain.models.remote_code import check_remote_code
from toolgain.models.rendering import special_tokens, template_of
from toolgain.models.response_templates import (
    check_system_messages_are_written,
    check_tools_are_written,
    named_or_file,
    reader_of,
)
from toolgain.models.settings import read_settings
from toolgain.models.weights import folder_problem
from toolgain.records.model import Model
from toolgain.records.record import write_record

NEEDED = ("config.json", "tokenizer_config.json")
OTHER_WEIGHTS = ("*.gguf", "pytorch_model*.bin", "*.pth", "*.pt", "*.bin")
"""Weights in other forms, which neither the trainers nor the servers are given."""

TO_SAFETENSORS = (
    "load it with transformers (a GGUF file with `from_pretrained(folder, gguf_file=name)`) and "
    "write it with save_pretrained, tokenizer and model into one folder"
)


def check_files(folder: Path) -> None:
    """Refuse a folder that holds no Hugging Face model, without reading the weights.

    Raises:
        UserError: `folder` is not a Hugging Face model folder with weights.
    """
    if not folder.is_dir():
        raise UserError(_no_folder(folder))
    if (folder / "adapter_config.json").is_file() and not (folder / "config.json").is_file():
        raise UserError(
            f"model.path: {folder} is an adapter (LoRA), not a model; put it into its base with "
            "peft's merge_and_unload, save that, and name its folder."
        )
    missing = [name for name in NEEDED if not (folder / name).is_file()]
    if missing:
        raise UserError(f"model.path: {folder} has no {', '.join(missing)}.")
    if odd := [path for path in (folder.resolve(), *folder.iterdir()) if not utf8_name(path)]:
        raise UserError(
            f"model.path: the name {str(odd[0])!a} is not UTF-8, and no record could hold it; "
            "rename it."
        )
    if not list(folder.glob("*.safetensors")):
        other = next((path for form in OTHER_WEIGHTS for path in sorted(folder.glob(form))), None)
        cure = f", only {other.name}; {TO_SAFETENSORS}" if other else ""
        raise UserError(f"model.path: {folder} holds no *.safetensors weights{cure}.")
    for name in NEEDED:
        _check_settings(folder / name)
    if problem := folder_problem(folder):
        raise UserError(f"model.path: {folder}: {problem}.")


def _no_folder(path: Path) -> str:
    if path.is_file():
        cure = TO_SAFETENSORS if path.suffix == ".gguf" else "name the folder of the model"
        return f"model.path: {path} is a file; {cure}."
    return (
        f"model.path: {path} is not a folder; download the model once on a host with a network: "
        f"`hf download <repository> --local-dir {path}`."
    )


def check_trainable(folder: Path) -> None:
    """Refuse weights in a form that nothing here trains, whole folder or not.

    Raises:
        UserError: the weights are quantised.
    """
    settings = read_settings(folder / "config.json")
    quantised = settings.get("quantization_config") or settings.get("compression_config")
    if isinstance(quantised, dict):
        method = quantised.get("quant_method") or quantised.get("quant_algo") or "unknown method"
        raise UserError(
            f"model.path: the weights in {folder} are quantised ({method}, quantization_config in "
            "config.json), and neither trainer trains such weights; name the model in bfloat16 "
            "or float32 that they were made from."
        )


def _check_settings(path: Path) -> None:
    """Refuse a JSON file of the model that holds no object, such as a download's error page."""
    if not read_settings(path) and path.name == "config.json":
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

    With `patch`, `chat_template` or `response_template` that is a private copy by links, made
    beside the other work.

    Raises:
        UserError: no Hugging Face model, or its chat template writes no tools.
    """
    folder = Path(section.path).resolve()
    files = files_of(folder)
    check_trainable(folder)
    check_remote_code(folder, section.trust_remote_code, "model.trust_remote_code")
    check_template(section)
    if section.patch != "none" or section.chat_template or section.response_template:
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


def check_template(section: ModelSection, read_here: bool = False) -> str:
    """Refuse a chat template that leaves out tools or system messages, or calls that nothing reads.

    Args:
        section: the model.
        read_here: whether the TRL reward or `transformers serve` reads its calls.

    Returns:
        What was found, in words.

    Raises:
        UserError: names the key to set.
    """
    folder = Path(section.path).resolve()
    given = given_template(section)
    text = template_of(folder) if given is None else given
    where = section.chat_template or str(folder)
    changed = text if section.patch == "none" else patched(text, section.patch, where)
    tokens = special_tokens(folder)
    check_tools_are_written(changed, tokens, where)
    check_system_messages_are_written(changed, tokens, where)
    check_endings(folder, changed, tokens, where)
    found = f"{where}: it writes tools"
    if section.patch != "none":
        found += (
            ", every replacement is found once" if changed != text else ", it is patched already"
        )
    settings = read_settings(folder / "tokenizer_config.json")
    reader = (
        named_or_file(section.response_template)
        if section.response_template
        else settings.get("response_template")
    )
    if read_here or section.response_template:
        kind = str(read_settings(folder / "config.json").get("model_type"))
        found += f", calls are read by {reader_of(changed, tokens, reader, kind, where)}"
    return found


def given_template(section: ModelSection) -> str | None:
    """The text of `chat_template`; None where the model's own is used.

    Raises:
        UserError: the file cannot be read.
    """
    if not section.chat_template:
        return None
    path = Path(section.chat_template)
    try:
        return read_text(path)
    except FileNotFoundError:
        raise UserError(f"model.chat_template: {path} does not exist.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"model.chat_template: {path} cannot be read: {error}.") from error


def _private_copy(section: ModelSection, folder: Path, files: dict[str, str], work: Path) -> Path:
    text = given_template(section)
    reader = named_or_file(section.response_template) if section.response_template else None
    decides: dict[str, object] = {"files": files, "patch": section.patch, "template": text}
    if reader is not None:
        decides["response_template"] = reader
    target = work / f"{folder.name}-{digest(decides)[:12]}"
    return private_copy(folder, target, section.patch, text, reader)
