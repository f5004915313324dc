"""Causal attention for the pre-training on a CPU, in blocks of queries.

PyTorch's own kernel for a CPU takes twice the time at heads of 32 numbers: its products of small
tiles do not use the processor's bfloat16 instructions well. Here each block of queries meets the
keys up to its end in one batched product, and the probabilities are kept for the way back.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

NAME = "toolgain_blocks"
"""What the model's configuration calls this attention."""
QUERIES = 64
"""Queries of a block."""


def _blocks(length: int, rows: int) -> Iterator[tuple[int, int, int, int]]:
    """First and last query of each block, and where its probabilities begin and end."""
    offset = 0
    for first in range(0, length, QUERIES):
        last = min(first + QUERIES, length)
        size = rows * (last - first) * last
        yield first, last, offset, offset + size
        offset += size


def _room(length: int, rows: int) -> int:
    """Numbers that the probabilities of all blocks need, at most."""
    blocks = (length + QUERIES - 1) // QUERIES
    return rows * QUERIES * QUERIES * blocks * (blocks + 1) // 2


@torch.library.custom_op("toolgain::causal_attention", mutates_args=())
def causal_attention(query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
    """Attention of each position to itself and those before it.

    Args:
        query: (rows, length, width), already scaled; key and value the same shape.

    Returns:
        The result (rows, length, width), and the probabilities of all blocks, one after another.
    """
    rows, length, _ = query.shape
    kept = query.new_empty(_room(length, rows))
    result = torch.empty_like(value)
    later = torch.full((QUERIES, QUERIES), float("-inf"), dtype=query.dtype).triu(1)
    for first, last, begin, end in _blocks(length, rows):
        scores = torch.bmm(query[:, first:last], key[:, :last].transpose(1, 2))
        scores[:, :, first:last] += later[: last - first, : last - first]
        shares = kept[begin:end].view(scores.shape)
        torch.softmax(scores, -1, out=shares)
        result[:, first:last] = torch.bmm(shares, value[:, :last])
    return result, kept


@causal_attention.register_fake
def _(query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
    return torch.empty_like(value), query.new_empty(_room(query.shape[1], query.shape[0]))


@torch.library.custom_op("toolgain::causal_attention_backward", mutates_args=())
def _causal_attention_backward(
    gradient: Tensor, query: Tensor, key: Tensor, value: Tensor, kept: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    rows, length, _ = query.shape
    gradient = gradient.contiguous()
    of_query = torch.empty_like(query)
    # Sums over many blocks: in float32.
    of_key = torch.zeros_like(key, dtype=torch.float32)
    of_value = torch.zeros_like(value, dtype=torch.float32)
    for first, last, begin, end in _blocks(length, rows):
        shares = kept[begin:end].view(rows, last - first, last)
        wanted = gradient[:, first:last]
        of_value[:, :last] += torch.bmm(shares.transpose(1, 2), wanted)
        of_shares = torch.bmm(wanted, value[:, :last].transpose(1, 2))
        of_scores = torch._softmax_backward_data(of_shares, shares, -1, shares.dtype)
        of_query[:, first:last] = torch.bmm(of_scores, key[:, :last])
        of_key[:, :last] += torch.bmm(of_scores.transpose(1, 2), query[:, first:last])
    return of_query, of_key.to(key.dtype), of_value.to(value.dtype)


@_causal_attention_backward.register_fake
def _(
    gradient: Tensor, query: Tensor, key: Tensor, value: Tensor, kept: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    return torch.empty_like(query), torch.empty_like(key), torch.empty_like(value)


def _keep(ctx: Any, inputs: tuple[Tensor, ...], output: tuple[Tensor, Tensor]) -> None:
    ctx.save_for_backward(*inputs, output[1])


def _back(context: Any, gradient: Tensor, _: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    found: tuple[Tensor, Tensor, Tensor] = _causal_attention_backward(
        gradient, *context.saved_tensors
    )
    return found


causal_attention.register_autograd(_back, setup_context=_keep)


def forward(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float,
    **_: Any,
) -> tuple[Tensor, None]:
    """The attention of one layer, as transformers calls it: all (batch, heads, length, width).

    Without a mask, and with as many heads of keys as of queries. Computed in the type of the
    values, which autocast has chosen.
    """
    if attention_mask is not None or key.shape != query.shape:
        raise ValueError("no masks and no shared heads: take attention 'sdpa'")
    batch, heads, length, width = query.shape
    flat = (batch * heads, length, width)
    result, _kept = causal_attention(
        (query * scaling).to(value.dtype).reshape(flat),
        key.to(value.dtype).reshape(flat),
        value.reshape(flat),
    )
    return result.view(batch, heads, length, width).transpose(1, 2).contiguous(), None


ALL_ATTENTION_FUNCTIONS.register(NAME, forward)
