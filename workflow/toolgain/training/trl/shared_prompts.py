"""Attention of many completions to the prompts that they share, for sampling on a processor.

There a token costs what it takes to read keys and values from memory. A cache holds a prompt once
for each of its completions; here it is held once, and the queries of all its completions meet its
keys in one product.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import AttentionInterface, DynamicCache

ATTENTION = "toolgain_shared_prompts"
"""Name of the attention function among transformers' implementations."""
ROOM = 32
"""Tokens by which the memory of completions grows when it is full."""


@dataclass
class _Layer:
    """Keys and values of one layer; keys are transposed, as the products want them."""

    prompt_keys: Tensor
    """(prompts, heads, width, longest prompt)"""
    prompt_values: Tensor
    """(prompts, heads, longest prompt, width)"""
    keys: Tensor
    """Of the completions: (rows, heads, width, room)"""
    values: Tensor
    """(rows, heads, room, width)"""

    def store(self, place: int, key: Tensor, value: Tensor) -> None:
        """Put a token of each row, (rows, heads, 1, width), into this place."""
        if place == self.values.shape[2]:
            self.keys = torch.cat([self.keys, torch.empty_like(self.keys[..., :ROOM])], dim=3)
            self.values = torch.cat([self.values, torch.empty_like(self.values[:, :, :ROOM])], 2)
        self.keys[..., place] = key[:, :, 0]
        self.values[:, :, place] = value[:, :, 0]


class SharedPrompts:
    """The memory of completions that are sampled together, without copies of their prompts."""

    def __init__(self, cache: DynamicCache, mask: Tensor, places: Tensor) -> None:
        """
        Args:
            cache: Keys and values of the prompts.
            mask: (prompts, longest), 0 where a prompt is filled up.
            places: The prompt of each row.
        """
        self._hidden = torch.where(mask.bool(), 0.0, -torch.inf)[:, None, None]
        """(prompts, 1, 1, longest)"""
        self._seats = int(places.bincount().max())
        """Most rows of a prompt."""
        self._seat = _seats_of(places, self._seats)
        """(rows,): the prompt's number times `_seats`, plus the row's among those of its prompt."""
        self._positions = mask.sum(dim=1)[places]
        """(rows,): of the token that comes next."""
        self._length = 0
        """Tokens of the completions so far."""
        self._layers = [_layer(layer.keys, layer.values, len(places)) for layer in cache.layers]

    def next_logits(self, model: Any, tokens: Tensor) -> Tensor:
        """Logits (rows, vocabulary) after one more token (rows,)."""
        with attention_of(model, ATTENTION):
            output = model(
                input_ids=tokens[:, None],
                position_ids=self._positions[:, None],
                use_cache=False,
                logits_to_keep=1,
                shared_prompts=self,
            )
        self._length += 1
        self._positions = self._positions + 1
        logits: Tensor = output.logits[:, -1]
        return logits

    def keep(self, rows: Tensor) -> None:
        """Go on with these rows alone, in this order."""
        seat = self._seat[rows]
        prompts, prompt = torch.unique(seat // self._seats, return_inverse=True)
        self._seat = prompt * self._seats + seat % self._seats
        self._positions = self._positions[rows]
        self._hidden = self._hidden[prompts]
        self._layers = [
            _Layer(
                layer.prompt_keys[prompts],
                layer.prompt_values[prompts],
                layer.keys[rows],
                layer.values[rows],
            )
            for layer in self._layers
        ]

    def attend(
        self, layer_index: int, query: Tensor, key: Tensor, value: Tensor, scaling: float | None
    ) -> Tensor:
        """Attention of one token of each row to its prompt, to its completion and to itself.

        Shapes: query (rows, query heads, 1, width), key and value (rows, heads, 1, width); returns
        (rows, 1, query heads, width).
        """
        layer = self._layers[layer_index]
        layer.store(self._length, key, value)
        rows, query_heads, _, width = query.shape
        heads, seen = key.shape[1], self._length + 1
        # Query heads that share a head of keys stand beside each other, as several tokens would.
        grouped = query.view(rows, heads, query_heads // heads, width)
        grouped = grouped * (width**-0.5 if scaling is None else scaling)
        to_prompt = torch.matmul(self._by_prompt(grouped), layer.prompt_keys) + self._hidden
        to_own = torch.matmul(grouped, layer.keys[..., :seen])
        scores = torch.cat([self._by_row(to_prompt), to_own], dim=-1)
        weights = scores.softmax(dim=-1, dtype=torch.float32).to(value.dtype)
        of_prompt, of_own = weights.split([weights.shape[-1] - seen, seen], dim=-1)
        from_prompt = torch.matmul(self._by_prompt(of_prompt), layer.prompt_values)
        from_own = torch.matmul(of_own, layer.values[:, :, :seen])
        return (self._by_row(from_prompt) + from_own).view(rows, 1, query_heads, width)

    def _by_prompt(self, rows: Tensor) -> Tensor:
        """(rows, heads, n, m) as (prompts, heads, seats x n, m), zero in empty seats."""
        seats = rows.new_zeros(len(self._hidden) * self._seats, *rows.shape[1:])
        seats[self._seat] = rows
        return seats.unflatten(0, (-1, self._seats)).transpose(1, 2).flatten(2, 3)

    def _by_row(self, prompts: Tensor) -> Tensor:
        """The way back: (prompts, heads, seats x n, m) as (rows, heads, n, m)."""
        seats = prompts.unflatten(2, (self._seats, -1)).transpose(1, 2).flatten(0, 1)
        return seats[self._seat]


def _seats_of(places: Tensor, seats: int) -> Tensor:
    taken = [0] * (int(places.max()) + 1)
    found = []
    for place in places.tolist():
        found.append(place * seats + taken[place])
        taken[place] += 1
    return torch.tensor(found)


def _layer(keys: Tensor, values: Tensor, rows: int) -> _Layer:
    _, heads, _, width = keys.shape
    return _Layer(
        keys.transpose(2, 3).contiguous(),
        values,
        keys.new_empty(rows, heads, width, ROOM),
        values.new_empty(rows, heads, ROOM, values.shape[3]),
    )


@contextmanager
def attention_of(model: Any, name: str) -> Iterator[None]:
    """The model with another attention function while the block runs."""
    before = model.config._attn_implementation
    model.set_attn_implementation(name)
    try:
        yield
    finally:
        model.set_attn_implementation(before)


def _attend(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    shared_prompts: SharedPrompts,
    scaling: float | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    return shared_prompts.attend(module.layer_idx, query, key, value, scaling), None


AttentionInterface.register(ATTENTION, _attend)
