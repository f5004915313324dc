"""The settings files of a model folder, such as config.json, read as transformers reads them.

They are no strict JSON: the length that a tokenizer without a limit writes has 31 digits
(`model_max_length`), and the configuration of a Mamba model holds `Infinity`.
"""

import json
from pathlib import Path

from toolgain.common.errors import UserError
from toolgain.common.files import read_text, reason


def read_settings(path: Path, role: str = "model.path") -> dict[str, object]:
    """The settings in `path`.

    Args:
        path: config.json, tokenizer_config.json or one like them.
        role: what the error begins with: the key that names the model, or the stage.

    Raises:
        UserError: the file is missing or holds no settings.
    """
    try:
        settings = json.loads(read_text(path))
    except FileNotFoundError:
        raise UserError(f"{role}: {path} does not exist.") from None
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(
            f"{role}: {path} is not JSON ({reason(error)}); download the model again, with "
            "`git lfs pull` where it came from Git."
        ) from None
    if not isinstance(settings, dict):
        raise UserError(f"{role}: {path} holds no settings of a model; download it again.")
    return settings
