"""Greedy generation for many requests at once, on a CPU, with the prompts' beginnings kept.

`transformers serve` answers one request after the other and computes each prompt again; a
multi-turn item of BFCL asks twenty times with the same 5,000 tokens in front. This engine decodes
several requests in one step, and keeps the keys and values of prompt blocks that it has seen.

Answers do not depend on what else is running: prompts are computed in blocks on a fixed grid,
and every decoding step has the same number of rows, filled up with idle ones. So each row goes
through the same kernels whatever its neighbours do.

It replaces the attention function and leaves the rest of the model alone, which suits decoders
with full attention in every layer. `Engine.agrees` compares it with the model's own forward pass;
where they disagree, the caller must not use it.
"""

import logging
import queue
import threading
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward

log = logging.getLogger(__name__)

ATTENTION = "toolgain_rows"
"""Name of the attention function among transformers' implementations."""
BLOCK = 256
"""Tokens of a prompt that are computed, and kept, together."""
PROMPTS = 2
"""Prompts that are computed at once. They are most of the work: a second core has a share of it."""

KeysAndValues = list[tuple[Tensor, Tensor]]
"""For each layer, keys and values of shape (heads, tokens, width)."""


@dataclass
class ActiveRequest:
    """One request while it is worked on."""

    prompt: list[int]
    limit: int
    """Most new tokens."""
    ends: frozenset[int]
    """Tokens that end the answer."""
    result: "Future[list[int]]"
    generated: list[int] = field(default_factory=list)
    length: int = 0
    """Tokens whose keys and values are in place."""
    memory: KeysAndValues = field(default_factory=list, repr=False)

    @property
    def finished(self) -> bool:
        """Whether the limit is reached or an ending token was drawn."""
        return len(self.generated) >= self.limit or (
            bool(self.generated) and self.generated[-1] in self.ends
        )

    def store(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Put (heads, new tokens, width) into place; returns all keys and values so far."""
        new = keys.shape[1]
        if layer == len(self.memory):
            shape = (keys.shape[0], len(self.prompt) + self.limit, keys.shape[2])
            self.memory.append((keys.new_empty(shape), values.new_empty(shape)))
        all_keys, all_values = self.memory[layer]
        all_keys[:, self.length : self.length + new] = keys
        all_values[:, self.length : self.length + new] = values
        return all_keys[:, : self.length + new], all_values[:, : self.length + new]


_step = threading.local()


def _attend(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    **options: Any,
) -> tuple[Tensor, None]:
    """Attention of each row over its own tokens.

    Shapes: query (rows, query heads, tokens, width), key and value (rows, heads, tokens, width);
    returns (rows, tokens, query heads, width).
    """
    rows: Sequence[ActiveRequest | None] | None = getattr(_step, "rows", None)
    if rows is None:
        # Not a step of the engine: the model's own generation, one sequence without padding.
        out: tuple[Tensor, None] = sdpa_attention_forward(
            module, query, key, value, attention_mask, **options
        )
        return out
    result = torch.zeros_like(query)
    last = module.config.num_hidden_layers - 1
    for place, row in enumerate(rows):
        if row is None:
            continue
        keys, values = row.store(module.layer_idx, key[place], value[place])
        # Behind the last layer only the last token's logits are of use.
        asked = query[place, :, -1:] if module.layer_idx == last else query[place]
        result[place, :, -asked.shape[1] :] = _row_attention(
            asked, keys, values, options.get("scaling")
        )
    return result.transpose(1, 2).contiguous(), None


def _row_attention(query: Tensor, keys: Tensor, values: Tensor, scaling: float | None) -> Tensor:
    """Attention of the last tokens of one sequence over all of them, causally."""
    heads, new, width = query.shape
    shared, seen = keys.shape[0], keys.shape[1]
    if new == 1:
        # All query heads that share keys in one product, so that keys are not copied. For a single
        # token plain products take a fifth less time on a CPU than the fused kernel, which works in
        # tiles of queries.
        grouped = query.view(shared, heads // shared, width)
        scale = width**-0.5 if scaling is None else scaling
        scores = torch.matmul(grouped * scale, keys.transpose(1, 2))
        weights = scores.softmax(-1, dtype=torch.float32).to(values.dtype)
        return torch.matmul(weights, values).view(heads, 1, width)
    mask = _past_and_causal(new, seen, query.dtype) if seen > new else None
    if heads > shared:
        keys = keys.repeat_interleave(heads // shared, dim=0)
        values = values.repeat_interleave(heads // shared, dim=0)
    return scaled_dot_product_attention(
        query[None], keys[None], values[None], mask, is_causal=mask is None, scale=scaling
    )[0]


# Every layer of a step asks for the same.
@lru_cache(maxsize=1)
def _past_and_causal(new: int, seen: int, dtype: torch.dtype) -> Tensor:
    """(new, seen): 0 where each of the last `new` tokens may look, minus infinity after it."""
    return torch.full((new, seen), -torch.inf, dtype=dtype).triu(seen - new + 1)


AttentionInterface.register(ATTENTION, _attend)


class PromptBlocks:
    """Keys and values of blocks of prompts, least recently used out first. For several threads.

    A block is found by all tokens up to its end, so what it holds depends on nothing else.
    """

    def __init__(self, budget_bytes: int) -> None:
        self.budget, self.used = budget_bytes, 0
        self._blocks: OrderedDict[tuple[int, ...], KeysAndValues] = OrderedDict()
        self._lock = threading.Lock()
        self._beginnings = [threading.Lock() for _ in range(64)]

    def get(self, tokens: tuple[int, ...]) -> KeysAndValues | None:
        """The last block of `tokens`, if it is kept."""
        with self._lock:
            block = self._blocks.get(tokens)
            if block is not None:
                self._blocks.move_to_end(tokens)
            return block

    def put(self, tokens: tuple[int, ...], block: KeysAndValues) -> None:
        """Keep the last block of `tokens`."""
        with self._lock:
            self._blocks[tokens] = block
            self.used += _size(block)
            while self.used > self.budget and self._blocks:
                _, oldest = self._blocks.popitem(last=False)
                self.used -= _size(oldest)

    def computing(self, prompt: Sequence[int]) -> AbstractContextManager[object]:
        """To hold while a prompt is computed: one with the same first block waits, and finds it."""
        if len(prompt) <= BLOCK:
            return nullcontext()
        return self._beginnings[hash(tuple(prompt[:BLOCK])) % len(self._beginnings)]


def _size(block: KeysAndValues) -> int:
    return sum(keys.nbytes + values.nbytes for keys, values in block)


class Engine(threading.Thread):
    """Works on up to `rows` requests at once.

    Some threads compute prompts, another decodes, so that a long prompt does not hold up the
    answers that are under way, and a second core is of use.
    """

    def __init__(self, model: Any, rows: int = 8, cache_bytes: int = 2**30) -> None:
        super().__init__(daemon=True, name="engine")
        self.model, self.rows = model, rows
        self.blocks = PromptBlocks(cache_bytes)
        self._waiting: queue.SimpleQueue[ActiveRequest] = queue.SimpleQueue()
        self._ready: queue.SimpleQueue[ActiveRequest] = queue.SimpleQueue()
        self._places = threading.Semaphore(rows)
        """One for each request between the start of its prompt and its answer."""
        self._active: list[ActiveRequest] = []

    def submit(self, prompt: list[int], limit: int, ends: frozenset[int]) -> "Future[list[int]]":
        """Ask for up to `limit` tokens after `prompt`; the result includes the ending token."""
        row = ActiveRequest(prompt, limit, ends, Future())
        self._waiting.put(row)
        return row.result

    def run(self) -> None:
        """Answer requests until the process ends."""
        for _ in range(PROMPTS):
            threading.Thread(target=self._compute_prompts, daemon=True, name="prompts").start()
        while True:
            self._admit()
            try:
                self._decode()
            except Exception as error:
                for row in self._active:
                    self._leave(row, error)
                self._active = []
            for row in [row for row in self._active if row.finished]:
                self._active.remove(row)
                self._leave(row)

    def _compute_prompts(self) -> None:
        while True:
            row = self._waiting.get()
            self._places.acquire()
            try:
                with self.blocks.computing(row.prompt):
                    self._prefill(row)
            except Exception as error:
                self._leave(row, error)
            else:
                if row.finished:
                    self._leave(row)
                else:
                    self._ready.put(row)

    def _admit(self) -> None:
        """Take what is ready; wait for it if there is nothing to do."""
        while len(self._active) < self.rows:
            try:
                self._active.append(self._ready.get(block=not self._active))
            except queue.Empty:
                return

    def _leave(self, row: ActiveRequest, error: Exception | None = None) -> None:
        self._places.release()
        row.memory = []
        if error is not None:
            row.result.set_exception(error)
        else:
            row.result.set_result(row.generated)

    def _prefill(self, row: ActiveRequest) -> None:
        """Compute the prompt, block by block, and choose the first token."""
        while row.length < len(row.prompt):
            end = min(row.length + BLOCK, len(row.prompt))
            key = tuple(row.prompt[:end])
            whole = end - row.length == BLOCK
            # The last block is always computed: its last token's logits are needed.
            known = self.blocks.get(key) if whole and end < len(row.prompt) else None
            if known is not None:
                for layer, (keys, values) in enumerate(known):
                    row.store(layer, keys, values)
            else:
                logits = self._forward([row.prompt[row.length : end]], [row])
                if whole:
                    new = slice(row.length, end)
                    kept = [(k[:, new].clone(), v[:, new].clone()) for k, v in row.memory]
                    self.blocks.put(key, kept)
            row.length = end
        row.generated.append(int(logits[0, -1].argmax()))

    def _decode(self) -> None:
        """One token for every active row."""
        if not self._active:
            return
        rows: list[ActiveRequest | None] = [
            *self._active,
            *[None] * (self.rows - len(self._active)),
        ]
        logits = self._forward([[row.generated[-1] if row else 0] for row in rows], rows)
        for row, choice in zip(self._active, logits[:, -1].argmax(-1).tolist(), strict=False):
            row.length += 1
            row.generated.append(choice)

    def _forward(self, tokens: list[list[int]], rows: Sequence[ActiveRequest | None]) -> Tensor:
        """Logits of the last position, of shape (rows, 1, vocabulary)."""
        starts = [row.length if row else 0 for row in rows]
        positions = [list(range(s, s + len(t))) for s, t in zip(starts, tokens, strict=True)]
        _step.rows = rows
        try:
            with torch.inference_mode():
                output: Tensor = self.model(
                    input_ids=torch.tensor(tokens),
                    position_ids=torch.tensor(positions),
                    use_cache=False,
                    logits_to_keep=1,
                ).logits
                return output
        finally:
            _step.rows = None

    def agrees(self, length: int = BLOCK + 40, steps: int = 4) -> bool:
        """Whether the engine's logits are those of the model's own forward pass.

        Call before `start`.
        """
        tokens = torch.randint(
            self.model.config.vocab_size, (length,), generator=torch.Generator().manual_seed(0)
        ).tolist()
        row = ActiveRequest(tokens, steps, frozenset(), Future())
        self._prefill(row)
        self._active = [row]
        for _ in range(steps - 1):
            self._decode()
        self._active = []
        with torch.inference_mode():
            whole = self.model(
                input_ids=torch.tensor([[*tokens, *row.generated[:-1]]]), use_cache=False
            ).logits[0, -steps:]
        expected = whole.argmax(-1).tolist()
        # Equal up to ties that rounding decides.
        margin = whole.max(-1).values - whole.gather(-1, torch.tensor(row.generated)[:, None])[:, 0]
        tolerance = 1e-3 if whole.dtype == torch.float32 else 0.25
        if bool((margin <= tolerance).all()):
            return True
        log.warning("engine: %s differs from the model's %s", row.generated, expected)
        return False
