# ruff: noqa: SIM905
"""The demo model's tokenizer: byte-level BPE whose pieces are the same in names and in sentences.

Copying is what a small model must learn, and it learns it fastest when a word has one token
wherever it stands: in `get_weather`, in "the weather" and in `"weather"`. So spaces, underscores,
dots, digits and capitals start tokens of their own, except that the commonest small words take the
spaces around them along (they are never copied alone, and this halves the cost of the spaces).
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
MARKS = (
    "<tools>",
    "</tools>",
    "<tool_call>",
    "</tool_call>",
    "<tool_response>",
    "</tool_response>",
)
SMALL_WORDS = (
    "the a an of for to in on at by with and or from is are was it its this that these be as "
    "i me my you your "
    "please can could what how what's do does did would will if when where which who not no "
    "given using between during per than then there have has about into should must only"
).split()
PATTERN = (
    r" ?\b(?i:" + "|".join(SMALL_WORDS) + r")\b ?"
    r"|[A-Z]?[a-z]+|[A-Z]+(?![a-z])|[A-Z]|[0-9]|_|(?: ?[^\sA-Za-z0-9_]+)+ ?|\s"
)


def train_tokenizer(texts: Iterable[str], vocabulary: int) -> PreTrainedTokenizerFast:
    """Train the tokenizer on texts; the chat template comes from the file beside this module."""
    core = Tokenizer(models.BPE(byte_fallback=False))
    core.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PATTERN), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    core.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=list(SPECIAL + MARKS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    core.train_from_iterator(texts, trainer)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        clean_up_tokenization_spaces=False,
        model_max_length=32768,
    )
    tokenizer.chat_template = Path(__file__).with_name("chat_template.jinja").read_text()
    return _unmark(tokenizer)


def _unmark(tokenizer: Any) -> Any:
    """Make the tool marks ordinary added tokens: decoding without special tokens keeps them."""
    from tokenizers import AddedToken

    for mark in MARKS:
        tokenizer.add_tokens([AddedToken(mark, special=False, normalized=False)])
    return tokenizer
