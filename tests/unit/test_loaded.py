"""A loaded model whose weights, tokenizer or endings do not belong together is refused."""

from types import SimpleNamespace

import pytest

from toolgain.common.errors import UserError
from toolgain.models.loaded import check_loaded


def model_of(rows: int) -> SimpleNamespace:
    embedding = SimpleNamespace(weight=SimpleNamespace(shape=(rows, 8)))
    return SimpleNamespace(get_input_embeddings=lambda: embedding)


def test_a_whole_model_is_taken_with_an_embedding_longer_than_its_vocabulary() -> None:
    check_loaded("m", set(), model_of(128), range(100), {2})


@pytest.mark.parametrize(
    ("missing", "rows", "endings", "said"),
    [
        ({"lm_head.weight"}, 100, {2}, r"lacks the weights lm_head\.weight, .*tie_word_embeddings"),
        ({f"w{n}" for n in range(5)}, 100, {2}, "lacks the weights w0, w1, w2 and 2 more"),
        (set(), 99, {2}, "tokenizer of m knows 100 tokens and the model 99"),
        (set(), 100, set(), "no token ends an answer of m.*eos_token_id"),
    ],
)
def test_what_does_not_belong_together_is_refused(
    missing: set[str], rows: int, endings: set[int], said: str
) -> None:
    with pytest.raises(UserError, match=said):
        check_loaded("m", missing, model_of(rows), range(100), endings)
