"""Prompts of a NeMo RL run in the model's own chat template, before anything is submitted."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from toolgain.common.errors import ToolgainError
from toolgain.config.sections import Config
from toolgain.models.base import check_template, given_template
from toolgain.models.chat_template import patched
from toolgain.models.rendering import special_tokens, template_of
from toolgain.training.nemo_rl import gym, lint, prompts

LARGE = 50_000_000
"""Rows of larger data files are counted at the start, not read: a start must stay quick."""


def are_large(files: Mapping[str, Path]) -> bool:
    """Whether the files are too large to be read at a start."""
    return sum(path.stat().st_size for path in files.values()) > LARGE


def prompt_findings(
    config: Config, limit: int, files: Mapping[str, Path] | None
) -> Iterator[lint.Finding]:
    """Whether the template keeps earlier turns, and whether the longest prompts fit.

    Nothing where model, template or data are wrong: another check says so.

    Args:
        config: The configuration.
        limit: policy.max_total_sequence_length.
        files: The data file of each split, where there are any.
    """
    folder = Path(config.model.path)
    try:
        check_template(config.model)
        text = given_template(config.model) or template_of(folder)
        if config.model.patch != "none":
            text = patched(text, config.model.patch, str(folder))
        tokens = special_tokens(folder)
        yield prompts.two_turns(text, tokens)
        if not files or are_large(files):
            return
        rows = [gym.read_gym_rows(path).rows for path in files.values()]
    except (ToolgainError, OSError):
        return
    python = Path(config.environments.trl) / "bin" / "python"
    yield prompts.lengths(rows, text, tokens, folder / "tokenizer.json", python, limit)
