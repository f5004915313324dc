"""Log-probabilities of many completions of one prompt, with the prompt computed once.

The completions of a group share their prompt. They are laid behind it in one row,

    prompt without its last token | last token, completion 1 | last token, completion 2 | ...

with a mask that shows each completion the prompt and itself alone, and with the positions that each
would have on its own. Repeating the prompt's last token gives every completion a place from which
its first token is predicted. The numbers are those of separate rows up to rounding; the training
program checks that before it trains, for a model whose attention takes no such mask.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

NOTHING = -100
"""Label of places that are not scored."""

PARTS = 4
"""Passes at most in which rows are computed, the short ones apart from the long ones."""


@dataclass(frozen=True)
class Packed:
    """Groups as rows of equal length; shapes with R rows of length L."""

    input_ids: torch.Tensor
    """(R, L)"""
    position_ids: torch.Tensor
    """(R, L)"""
    attention_mask: torch.Tensor
    """(R, 1, L, L), True where the place of dimension 2 sees that of dimension 3."""
    shift_labels: torch.Tensor
    """(R, L): the token that each place predicts, or NOTHING."""
    places: tuple[tuple[int, int, int], ...]
    """Per completion, in the order given: row, first place that predicts it, length."""

    def to(self, device: torch.device) -> "Packed":
        """The same on another device."""
        tensors = (self.input_ids, self.position_ids, self.attention_mask, self.shift_labels)
        ids, positions, mask, labels = (tensor.to(device) for tensor in tensors)
        return Packed(ids, positions, mask, labels, self.places)


def parts_of(
    prompts: Sequence[Sequence[int]],
    completions: Sequence[Sequence[int]],
    chosen: Sequence[int],
    most: int,
) -> list[list[int]]:
    """The `chosen` completions in at most `most` parts of indices, those of a prompt together.

    Rows of a part are about equally long, so that little is computed on padding: the mask makes
    what a row costs grow with the square of the longest.
    """
    groups: dict[tuple[int, ...], list[int]] = {}
    for index in chosen:
        groups.setdefault(tuple(prompts[index]), []).append(index)
    ordered = sorted(
        groups.items(),
        key=lambda group: len(group[0]) + sum(1 + len(completions[index]) for index in group[1]),
    )
    size = max(1, -(-len(ordered) // most))
    return [
        [index for _, members in ordered[start : start + size] for index in members]
        for start in range(0, len(ordered), size)
    ]


def pack_rows(
    prompts: Sequence[Sequence[int]], completions: Sequence[Sequence[int]], pad: int
) -> Packed:
    """Lay completions behind their prompts; equal prompts share a row.

    Prompts have two tokens or more, completions one or more.
    """
    groups: dict[tuple[int, ...], list[int]] = {}
    for index, prompt in enumerate(prompts):
        groups.setdefault(tuple(prompt), []).append(index)
    length = max(
        len(prompt) - 1 + sum(1 + len(completions[index]) for index in members)
        for prompt, members in groups.items()
    )
    rows = len(groups)
    input_ids = torch.full((rows, length), pad)
    position_ids = torch.zeros((rows, length), dtype=torch.long)
    shift_labels = torch.full((rows, length), NOTHING)
    segment = torch.full((rows, length), -1)
    places: list[tuple[int, int, int]] = [(0, 0, 0)] * len(prompts)
    for row, (prompt, members) in enumerate(groups.items()):
        shared = len(prompt) - 1
        input_ids[row, :shared] = torch.tensor(prompt[:-1])
        position_ids[row, :shared] = torch.arange(shared)
        segment[row, :shared] = 0
        begin = shared
        for number, index in enumerate(members, start=1):
            tokens = torch.tensor([prompt[-1], *completions[index]])
            end = begin + len(tokens)
            input_ids[row, begin:end] = tokens
            position_ids[row, begin:end] = torch.arange(shared, shared + len(tokens))
            shift_labels[row, begin : end - 1] = tokens[1:]
            segment[row, begin:end] = number
            places[index] = (row, begin, len(tokens) - 1)
            begin = end
    earlier = torch.ones((length, length), dtype=torch.bool).tril()
    same = segment[:, :, None] == segment[:, None, :]
    visible = earlier & (same | (segment == 0)[:, None, :])
    return Packed(input_ids, position_ids, visible[:, None], shift_labels, tuple(places))


def unpack(values: torch.Tensor, packed: Packed, width: int) -> torch.Tensor:
    """Values per place, (R, L), as one row of `width` per completion, zero behind its end."""
    rows = []
    for row, begin, length in packed.places:
        rows.append(
            torch.nn.functional.pad(values[row, begin : begin + length], (0, width - length))
        )
    return torch.stack(rows)


def score_packed(
    model: Any,
    prompts: Sequence[Sequence[int]],
    completions: Sequence[Sequence[int]],
    pad: int,
    width: int,
    device: torch.device,
    needs_grad: Sequence[bool] | None = None,
    most: int = PARTS,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Log-probabilities and entropies, (completions, width), zero behind the end of each.

    `model` has TRL's fused head; one without entropies, as the reference model of the KL penalty,
    gives None for them. Completions that `needs_grad` leaves out are computed without a gradient,
    in a third of the time; None leaves out none.
    """
    everything = range(len(prompts))
    parts: list[list[int]] = []
    log_probs: list[torch.Tensor] = []
    entropies: list[torch.Tensor] = []
    # Those with a gradient first: autocast keeps the weights that it casts for the others.
    for graded in (True, False):
        chosen = [
            index for index in everything if (needs_grad is None or needs_grad[index]) is graded
        ]
        for part in parts_of(prompts, completions, chosen, most):
            packed = pack_rows([prompts[i] for i in part], [completions[i] for i in part], pad)
            packed = packed.to(device)
            with torch.set_grad_enabled(graded and torch.is_grad_enabled()):
                values, entropy = _score(model, packed)
                log_probs.append(unpack(values, packed, width))
                if entropy is not None:
                    entropies.append(unpack(entropy, packed, width))
            parts.append(part)
    place = {index: n for n, index in enumerate(index for part in parts for index in part)}
    order = [place[index] for index in range(len(prompts))]
    return torch.cat(log_probs)[order], torch.cat(entropies)[order] if entropies else None


def _score(model: Any, packed: Packed) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Log-probability and entropy at each place, (R, L), zero where none is scored.

    The head is given the scored places alone. Without a GPU TRL's fused head computes the logits of
    all of them, the prompts' as well, which is more than half of a step where prompts are long.
    """
    chosen = packed.shift_labels != NOTHING

    def leave_out_the_rest(_module: Any, _given: Any, output: Any) -> Any:
        output.last_hidden_state = output.last_hidden_state[chosen][None]
        return output

    backbone = getattr(model, "module", model).base_model
    hook = backbone.register_forward_hook(leave_out_the_rest)
    try:
        output = model(
            input_ids=packed.input_ids,
            attention_mask=packed.attention_mask,
            position_ids=packed.position_ids,
            shift_labels=packed.shift_labels[chosen][None],
            fused_lm_head=True,
        )
    finally:
        hook.remove()

    def in_place(values: torch.Tensor) -> torch.Tensor:
        return values.new_zeros(chosen.shape).masked_scatter(chosen, values[0])

    entropy = output.entropy
    return in_place(output.log_probs), None if entropy is None else in_place(entropy)


@torch.no_grad()
def largest_difference(
    model: Any, prompt: Sequence[int], completions: Sequence[Sequence[int]], temperature: float
) -> float:
    """How far log-probabilities of a shared prompt are from those of separate rows.

    `model` has TRL's fused head. Without autocast the answer is about 1e-6 for a model whose
    attention takes the mask.
    """
    packed = pack_rows([prompt] * len(completions), completions, prompt[0]).to(model.device)
    values, _ = _score(model, packed)
    together = unpack(values, packed, max(map(len, completions)))
    largest = 0.0
    for row, completion in zip(together, completions, strict=True):
        ids = torch.tensor([[*prompt, *completion]], device=model.device)
        logits = model(input_ids=ids).logits[0, len(prompt) - 1 : -1].float() / temperature
        alone = torch.log_softmax(logits, dim=-1).gather(1, ids[0, len(prompt) :, None])[:, 0]
        largest = max(largest, float((alone - row[: len(completion)]).abs().max()))
    return largest
