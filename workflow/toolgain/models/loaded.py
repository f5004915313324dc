"""What only a loaded model shows: whether weights, tokenizer and endings belong together.

Runs in the TRL environment, in the training and in the server; transformers itself starts with a
warning where weights are missing, and gives them values by chance.
"""

from collections.abc import Collection
from typing import Any

from toolgain.common.errors import UserError


def check_loaded(
    folder: str, missing: Collection[str], model: Any, tokenizer: Any, endings: Collection[int]
) -> None:
    """Refuse a model that would answer by chance, fail at a rare word, or never end an answer.

    Args:
        folder: of the model, for the message.
        missing: names of weights that the folder does not hold (`output_loading_info`).
        model: the model; only the size of its embedding is looked at.
        tokenizer: its tokenizer.
        endings: tokens that end an answer.

    Raises:
        UserError: names the folder and what is wrong in it.
    """
    if missing:
        names = ", ".join(sorted(missing)[:3]) + (f" and {len(missing) - 3} more") * (
            len(missing) > 3
        )
        raise UserError(
            f"model.path: {folder} lacks the weights {names}, which would be drawn by chance; "
            "save the model whole (for lm_head.weight: set tie_word_embeddings in config.json if "
            "the model ties it to the embedding)"
        )
    rows = int(model.get_input_embeddings().weight.shape[0])
    if (size := len(tokenizer)) > rows:
        raise UserError(
            f"model.path: the tokenizer of {folder} knows {size} tokens and the model {rows}; "
            "they do not belong together: take the model's own tokenizer"
        )
    if not endings:
        raise UserError(
            f"model.path: no token ends an answer of {folder}, so each would run to its limit; "
            "set eos_token_id in its generation_config.json, or eos_token in "
            "tokenizer_config.json"
        )
