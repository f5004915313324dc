"""Sampling many completions of few prompts, quickly on a processor without an accelerator.

`model.generate` would compute each prompt once per completion, copy the whole cache at each token
and go on with completions that have ended. Here a prompt is computed once, the cache is written in
place, and completions that have ended leave the batch. The distribution is the same; a test holds
greedy answers against `model.generate`.
"""

from collections.abc import Collection, Sequence
from typing import Any

import torch
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

ROOM = 64
"""Tokens by which a cache grows when it is full."""

LEAVE_SHARE = 8
"""Ended completions leave the batch when they are more than one in this many."""


class InPlaceLayer(DynamicLayer):
    """A cache layer that writes into spare room, in place of copying itself at every token."""

    _room: tuple[torch.Tensor, torch.Tensor]
    """Keys and values with spare room behind them; `keys` and `values` are views of it."""

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *_: Any, **__: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Append the keys and values, each (batch, heads, new tokens, width of a head)."""
        begin = self.get_seq_length()
        end = begin + key_states.shape[-2]
        if begin == 0 or end > self._room[0].shape[-2] or len(self._room[0]) != len(key_states):
            self._make_room(key_states, value_states, begin, end)
        for room, states in zip(self._room, (key_states, value_states), strict=True):
            room[:, :, begin:end] = states
        self.keys, self.values = (room[:, :, :end] for room in self._room)
        return self.keys, self.values

    def _make_room(
        self, key_states: torch.Tensor, value_states: torch.Tensor, begin: int, end: int
    ) -> None:
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        self._room = (
            _with_room(key_states, self.keys, begin, end),
            _with_room(value_states, self.values, begin, end),
        )

    def batch_select_indices(self, indices: torch.Tensor) -> None:
        """Keep these rows, in this order; a row may be named several times."""
        super().batch_select_indices(indices)
        self._make_room(self.keys, self.values, self.get_seq_length(), self.get_seq_length())
        self.keys, self.values = (room[:, :, : self.keys.shape[-2]] for room in self._room)


def _with_room(states: torch.Tensor, old: torch.Tensor, begin: int, end: int) -> torch.Tensor:
    batch, heads, _, width = states.shape
    room = states.new_empty(batch, heads, end + ROOM, width)
    if begin:
        room[:, :, :begin] = old
    return room


def new_cache(model: Any) -> DynamicCache:
    """A cache for `model`; layers with another form of attention keep their own kind."""
    cache = DynamicCache(config=model.config)
    cache.layers = [
        InPlaceLayer() if type(layer) is DynamicLayer else layer for layer in cache.layers
    ]
    return cache


@torch.no_grad()
def complete(
    model: Any,
    prompts: Sequence[Sequence[int]],
    *,
    limit: int,
    endings: Collection[int],
    padding: int,
    temperature: float,
) -> list[list[int]]:
    """One completion per prompt, as token ids up to and with the ending token.

    Args:
        model: A causal language model of transformers.
        prompts: Token ids; equal prompts are computed once.
        limit: Most tokens of one completion.
        endings: Tokens that end a completion.
        padding: Token that fills shorter prompts on the left.
        temperature: 0 is greedy; the draws come from torch's global generator.
    """
    unique = list(dict.fromkeys(tuple(prompt) for prompt in prompts))
    place = {prompt: index for index, prompt in enumerate(unique)}
    device = model.device
    longest = max(len(prompt) for prompt in unique)
    ids = torch.full((len(unique), longest), padding, device=device)
    mask = torch.zeros_like(ids)
    for row, prompt in enumerate(unique):
        ids[row, longest - len(prompt) :] = torch.tensor(prompt, device=device)
        mask[row, longest - len(prompt) :] = 1

    cache = new_cache(model)
    output = model(
        input_ids=ids,
        attention_mask=mask,
        position_ids=(mask.cumsum(dim=1) - 1).clamp(min=0),
        past_key_values=cache,
        use_cache=True,
        logits_to_keep=1,
    )
    spread = torch.tensor([place[tuple(prompt)] for prompt in prompts], device=device)
    logits, mask = output.logits[spread, -1], mask[spread]
    cache.batch_select_indices(spread)
    endings_tensor = torch.tensor(sorted(endings), device=device)
    rows = torch.arange(len(prompts), device=device)
    alive = torch.ones(len(prompts), dtype=torch.bool, device=device)
    answers: list[list[int]] = [[] for _ in prompts]
    for length in range(1, limit + 1):
        tokens = _draw(logits, temperature)
        for row, token, going in zip(rows.tolist(), tokens.tolist(), alive.tolist(), strict=True):
            if going:
                answers[row].append(token)
        alive &= ~torch.isin(tokens, endings_tensor)
        if length == limit or not alive.any():
            break
        if int((~alive).sum()) * LEAVE_SHARE > len(alive):
            kept = alive.nonzero().squeeze(1)
            cache.batch_select_indices(kept)
            rows, tokens, mask, alive = rows[kept], tokens[kept], mask[kept], alive[kept]
        mask = torch.cat([mask, mask.new_ones(len(mask), 1)], dim=1)
        output = model(
            input_ids=tokens[:, None],
            attention_mask=mask,
            position_ids=mask.sum(dim=1, keepdim=True) - 1,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        )
        logits = output.logits[:, -1]
    return answers


def _draw(logits: torch.Tensor, temperature: float) -> torch.Tensor:
    if temperature == 0:
        return logits.argmax(dim=-1)
    probabilities = torch.softmax(logits.float() / temperature, dim=-1)
    # One random number a row: `multinomial` draws one for every token of the vocabulary.
    ends = probabilities.cumsum(dim=-1)
    points = torch.rand_like(ends[:, :1]) * ends[:, -1:]
    points = torch.minimum(points, torch.nextafter(ends[:, -1:], torch.zeros_like(points)))
    return torch.searchsorted(ends, points, right=True).squeeze(1)
