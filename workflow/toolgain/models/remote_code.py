"""Python code that a model brings along, and whether it may run.

Hugging Face's `auto_map` (https://huggingface.co/docs/transformers/custom_models) names classes in
files of the model folder. Loading the model with `trust_remote_code` imports them: whoever wrote
the model then runs programs with the rights of the user, outside of every sandbox.
"""

from pathlib import Path

from toolgain.common.errors import UserError
from toolgain.models.settings import read_settings

FILES = ("config.json", "tokenizer_config.json", "processor_config.json")


def remote_code(folder: Path) -> list[str]:
    """The classes that a model folder's `auto_map` names, such as `modeling_x.XForCausalLM`.

    Raises:
        UserError: a settings file is not JSON.
    """
    found: set[str] = set()
    for name in FILES:
        path = folder / name
        classes = read_settings(path).get("auto_map") if path.exists() else None
        if isinstance(classes, dict):
            # A tokenizer names a slow and a fast class, either of which may be null.
            each = (one if isinstance(one, list) else [one] for one in classes.values())
            found |= {str(name) for names in each for name in names if name}
    return sorted(found)


def check_remote_code(folder: Path, allowed: bool, key: str) -> None:
    """Refuse a model that wants to run code of its own, unless the user said that it may.

    Args:
        key: how the user allows it.

    Raises:
        UserError: names the model, its code, and what allowing it means.
    """
    if allowed or not (classes := remote_code(folder)):
        return
    more = f" and {len(classes) - 1} more" if len(classes) > 1 else ""
    raise UserError(
        f"{key} is false, and the model in {folder} wants to run Python code of its own "
        f"({classes[0]}{more}, named by auto_map). Such code runs with all your rights, outside of "
        f"the sandbox: read it, and set {key} to true if you trust whoever wrote it. Where "
        "transformers and vLLM know the model by themselves, take auto_map out of a copy instead."
    )
