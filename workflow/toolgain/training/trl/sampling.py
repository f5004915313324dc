"""Sampling many completions of few prompts, quickly on a processor without an accelerator.

`model.generate` would compute each prompt once per completion, copy the whole cache at each token
and go on with completions that have ended. Here a prompt is computed once, the cache is written in
place, and completions that have ended leave the batch. On a processor the completions of a prompt
also share its keys and values, if the model allows it. The distribution is the same; a test holds
greedy answers against `model.generate`.
"""

from collections.abc import Collection, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from toolgain.training.trl.shared_prompts import SharedPrompts

ROOM = 64
"""Tokens by which a cache grows when it is full."""

TOLERANCE = 1e-3
"""Largest difference of a logit, relative to the largest one, where prompts may be shared."""

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


class Memory(Protocol):
    """Keys and values of completions that are sampled together."""

    def next_logits(self, model: Any, tokens: Tensor) -> Tensor:
        """Logits (rows, vocabulary) after one more token (rows,)."""

    def keep(self, rows: Tensor) -> None:
        """Go on with these rows alone, in this order."""


class CopiedPrompts:
    """The memory in a cache with the prompt of each completion, for any model and device."""

    def __init__(self, cache: DynamicCache, mask: Tensor, places: Tensor) -> None:
        """As `SharedPrompts`."""
        self._cache, self._mask = cache, mask[places]
        cache.batch_select_indices(places)

    def next_logits(self, model: Any, tokens: Tensor) -> Tensor:
        """Logits (rows, vocabulary) after one more token (rows,)."""
        self._mask = torch.cat([self._mask, self._mask.new_ones(len(tokens), 1)], dim=1)
        output = model(
            input_ids=tokens[:, None],
            attention_mask=self._mask,
            position_ids=self._mask.sum(dim=1, keepdim=True) - 1,
            past_key_values=self._cache,
            use_cache=True,
            logits_to_keep=1,
        )
        logits: Tensor = output.logits[:, -1]
        return logits

    def keep(self, rows: Tensor) -> None:
        """Go on with these rows alone, in this order."""
        self._cache.batch_select_indices(rows)
        self._mask = self._mask[rows]


def prefill(
    model: Any, prompts: Sequence[Sequence[int]], padding: int, shared: bool
) -> tuple[Tensor, Memory]:
    """Compute the prompts, equal ones once: logits (rows, vocabulary) and the memory.

    Args:
        model: A causal language model of transformers.
        prompts: Token ids, of one row each.
        padding: Token that fills shorter prompts on the left.
        shared: Whether completions of a prompt share its keys and values.
    """
    unique = list(dict.fromkeys(tuple(prompt) for prompt in prompts))
    place = {prompt: index for index, prompt in enumerate(unique)}
    longest = max(len(prompt) for prompt in unique)
    ids = torch.full((len(unique), longest), padding, device=model.device)
    mask = torch.zeros_like(ids)
    for row, prompt in enumerate(unique):
        ids[row, longest - len(prompt) :] = torch.tensor(prompt, device=model.device)
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
    places = torch.tensor([place[tuple(prompt)] for prompt in prompts], device=model.device)
    memory = (SharedPrompts if shared else CopiedPrompts)(cache, mask, places)
    return output.logits[places, -1], memory


@torch.no_grad()
def complete(
    model: Any,
    prompts: Sequence[Sequence[int]],
    *,
    limit: int,
    endings: Collection[int],
    padding: int,
    temperature: float,
    shared: bool = False,
) -> list[list[int]]:
    """One completion per prompt, as token ids up to and with the ending token.

    Args:
        model: A causal language model of transformers.
        prompts: Token ids; equal prompts are computed once.
        limit: Most tokens of one completion.
        endings: Tokens that end a completion.
        padding: Token that fills shorter prompts on the left.
        temperature: 0 is greedy; the draws come from torch's global generator.
        shared: Whether completions of a prompt share its keys and values: quicker on a processor,
            where `can_share` allows it.
    """
    logits, memory = prefill(model, prompts, padding, shared)
    endings_tensor = torch.tensor(sorted(endings), device=model.device)
    rows = torch.arange(len(prompts), device=model.device)
    alive = torch.ones(len(prompts), dtype=torch.bool, device=model.device)
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
            memory.keep(kept)
            rows, tokens, alive = rows[kept], tokens[kept], alive[kept]
        logits = memory.next_logits(model, tokens)
    return answers


@torch.no_grad()
def can_share(model: Any, prompts: Sequence[Sequence[int]], padding: int) -> bool:
    """Whether completions that share their prompts get the logits of those with copies.

    True on a processor alone, in float32, for layers of full attention without more to it (no
    window, sinks or soft cap), which a few tokens after `prompts` show.
    """
    if model.device.type != "cpu" or model.config.get_text_config()._attn_implementation != "sdpa":
        return False
    if any(type(layer) is not InPlaceLayer for layer in new_cache(model).layers):
        return False
    several = [prompt for prompt in prompts for _ in range(3)]
    logits: list[Tensor] = []
    for shared in (False, True):
        try:
            first, memory = prefill(model, several, padding, shared)
            # Another token for each completion of a prompt.
            tokens = first.topk(3).indices[torch.arange(len(first)), torch.arange(len(first)) % 3]
            memory.next_logits(model, tokens)
            kept = torch.arange(1, len(first))
            memory.keep(kept)
            logits.append(memory.next_logits(model, tokens[kept]))
        except (TypeError, RuntimeError):
            # A forward pass of its own that hands on no options, or other shapes of keys.
            return False
    return bool((logits[0] - logits[1]).abs().max() <= TOLERANCE * logits[0].abs().max())


def _draw(logits: torch.Tensor, temperature: float) -> torch.Tensor:
    if temperature == 0:
        return logits.argmax(dim=-1)
    probabilities = torch.softmax(logits.float() / temperature, dim=-1)
    # One random number a row: `multinomial` draws one for every token of the vocabulary.
    ends = probabilities.cumsum(dim=-1)
    points = torch.rand_like(ends[:, :1]) * ends[:, -1:]
    points = torch.minimum(points, torch.nextafter(ends[:, -1:], torch.zeros_like(points)))
    return torch.searchsorted(ends, points, right=True).squeeze(1)
