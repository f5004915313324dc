"""The tokens that end an answer, beside the one that the chat template ends a turn with.

A base model's tokenizer often ends a text with one token and carries a chat template that ends a
turn with another. Its answers then run to their limit, in the training and in every evaluation.
"""

from collections.abc import Mapping
from pathlib import Path

from toolgain.common.errors import UserError
from toolgain.models.rendering import CannotRenderError, render
from toolgain.models.response_templates import QUESTION
from toolgain.models.settings import read_settings

ANSWER = "High water is at six."


def check_endings(folder: Path, template: str, tokens: Mapping[str, str], where: str) -> None:
    """Refuse a model whose answers would never end.

    Nothing is said where the template writes no token after an answer, or where the folder does
    not say which tokens there are.

    Args:
        folder: of the model.
        template: its chat template.
        tokens: its special tokens by name.
        where: the template's file or folder, for the message.

    Raises:
        UserError: names the token of the template, those of the model, and the key to set.
    """
    try:
        turn = [QUESTION, {"role": "assistant", "content": ANSWER}]
        after = render(template, tokens, turn, None, False).rpartition(ANSWER)[2]
    except CannotRenderError:
        return
    known = _added_tokens(folder)
    written = [text for text in known.values() if text in after]
    ids = _ending_ids(folder)
    if not written or not ids <= known.keys():
        return
    endings = {known[number] for number in ids} | {tokens.get("eos_token", "")} - {""}
    if not any(text in after for text in endings):
        said = ", ".join(sorted(endings)) or "none"
        raise UserError(
            f"model.path: the chat template of {where} ends an answer with {written[0]}, and the "
            f"tokens that end one in {folder} are: {said}. Each answer would run to its limit; add "
            "the template's to eos_token_id in a copy's generation_config.json."
        )


def _added_tokens(folder: Path) -> dict[int, str]:
    """The tokens beside the vocabulary, such as those that end a turn, by number."""
    found: dict[int, str] = {}
    listed = read_settings(folder / "tokenizer_config.json").get("added_tokens_decoder")
    if isinstance(listed, dict):
        for number, token in listed.items():
            if str(number).isdigit() and isinstance(token, dict) and token.get("content"):
                found[int(number)] = str(token["content"])
    elif (folder / "tokenizer.json").is_file():
        rows = read_settings(folder / "tokenizer.json").get("added_tokens")
        for row in rows if isinstance(rows, list) else ():
            if isinstance(row, dict) and isinstance(row.get("id"), int) and row.get("content"):
                found[row["id"]] = str(row["content"])
    return found


def _ending_ids(folder: Path) -> set[int]:
    for name in ("generation_config.json", "config.json"):
        path = folder / name
        ids = read_settings(path).get("eos_token_id") if path.is_file() else None
        if ids is not None:
            return {one for one in (ids if isinstance(ids, list) else [ids]) if type(one) is int}
    return set()
