"""Between Gym's chat messages and tokens: prompts by the chat template, answers by the reader.

What the model sampled stays as it was sampled: an answer's tokens travel on its message, through
Gym and back, and only what the environment said after it is tokenized. The chat template is asked
what that is with the answer marked, so it does not matter whether the template would write earlier
answers differently (without their thoughts, say).
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from toolgain.common.errors import StageError
from toolgain.environments.chat_endpoint import Body
from toolgain.serving.answers import AnswerReader

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

MARKED = "qzxjkvw"
"""Stands for an answer while the template writes what follows on it; nothing else says this."""

Message = dict[str, Any]
"""A chat message in OpenAI's form."""


@dataclass(frozen=True)
class ChatAnswer:
    """An answer as Gym's model server gets it."""

    content: bytes
    called: int
    """Calls that were read in it."""


class GymChat:
    """Prompts and answers of one model."""

    def __init__(
        self, tokenizer: "PreTrainedTokenizerBase", reader: AnswerReader, endings: Sequence[int]
    ) -> None:
        self.tokenizer, self.reader, self.endings = tokenizer, reader, frozenset(endings)
        self._ending_texts = [str(tokenizer.decode([token])) for token in endings]

    def prompt(self, body: Body) -> list[int]:
        """The tokens before the next answer.

        Raises:
            StageError: the chat template does not write or close an answer that something follows.
        """
        messages = [_for_template(message) for message in body["messages"]]
        last = max(
            (place for place, one in enumerate(body["messages"]) if one.get("prompt_token_ids")),
            default=None,
        )
        if last is None:
            return self._tokens(self._written(messages, body))
        answered = body["messages"][last]
        before = [*answered["prompt_token_ids"], *answered["generation_token_ids"]]
        after = self._after(messages, last, body)
        ids = [int(token) for token in before]
        return [*ids, *self._tokens(self._follows(after, ids[-1] in self.endings))]

    def _after(self, messages: list[Message], place: int, body: Body) -> str:
        """What the template writes behind the message at `place`, from its ending on."""
        for marked in _marked(messages[place]):
            written = self._written([*messages[:place], marked, *messages[place + 1 :]], body)
            _, mark, after = written.rpartition(MARKED)
            if mark:
                return after
        raise StageError(
            "training: the chat template does not write an answer that a tool's result follows on; "
            "give another one with model.chat_template."
        )

    def _follows(self, after: str, ended: bool) -> str:
        """What the template writes behind an answer, its ending left out where it was sampled."""
        found = [(after.find(text), text) for text in self._ending_texts if text in after]
        if not found:
            raise StageError(
                "training: the chat template ends an answer with no token that ends a sampled one "
                f"({', '.join(map(repr, self._ending_texts))}); several answers in one rollout "
                "cannot be trained on with it. Give another one with model.chat_template."
            )
        place, text = min(found)
        return after[place + (len(text) if ended else 0) :]

    def _written(self, messages: list[Message], body: Body) -> str:
        return str(
            self.tokenizer.apply_chat_template(
                messages,
                tools=body.get("tools") or None,
                add_generation_prompt=True,
                tokenize=False,
                **(body.get("chat_template_kwargs") or {}),
            )
        )

    def _tokens(self, text: str) -> list[int]:
        ids: list[int] = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        return ids

    def reply(self, body: Body, prompt: list[int], answer: list[int], last: bool) -> ChatAnswer:
        """The answer in OpenAI's form, with its tokens.

        Args:
            body: The request.
            prompt: Tokens before the answer.
            answer: Tokens that were sampled.
            last: The rollout ends with it even where it calls: `finish_reason` is `length` then.
        """
        kept = [token for token in answer if token not in self.endings]
        text = str(self.tokenizer.decode(kept, skip_special_tokens=True))
        found = self.reader.read(answer, self.tokenizer.decode(prompt), body.get("tools") or [])
        calls = found.calls if found else ()
        message: Message = {"role": "assistant", "content": text}
        if found:
            thought = f"<think>{found.thought}</think>" if found.thought else ""
            message["content"] = thought + found.text or None
        if calls:
            made = sum(len(one.get("tool_calls") or []) for one in body["messages"])
            message["tool_calls"] = [
                {
                    # Nine signs, which is all that some templates take.
                    "id": f"{made + number:09d}",
                    "type": "function",
                    "function": {"name": call.name, "arguments": json.dumps(call.arguments)},
                }
                for number, call in enumerate(calls)
            ]
        message |= {
            "prompt_token_ids": prompt,
            "generation_token_ids": answer,
            # Gym wants them there; the trainer computes its own.
            "generation_log_probs": [0.0] * len(answer),
        }
        cut = answer[-1] not in self.endings or (last and calls)
        finish = "length" if cut else "tool_calls" if calls else "stop"
        usage = {
            "prompt_tokens": len(prompt),
            "completion_tokens": len(answer),
            "total_tokens": len(prompt) + len(answer),
        }
        head = {"id": "0", "object": "chat.completion", "created": 0, "model": "policy"}
        choice = {"index": 0, "message": message, "finish_reason": finish}
        content = json.dumps({**head, "choices": [choice], "usage": usage}).encode()
        return ChatAnswer(content, len(calls))


def _for_template(message: Message) -> Message:
    """A message as chat templates take it: content as one text, arguments as objects."""
    content = message.get("content")
    if isinstance(content, list):
        content = "".join(str(part.get("text", "")) for part in content)
    kept = {"role": message["role"], "content": content or ""}
    kept |= {key: message[key] for key in ("tool_call_id", "name") if message.get(key)}
    if thought := message.get("reasoning_content"):
        kept["reasoning_content"] = thought
    if message.get("tool_calls"):
        kept["tool_calls"] = [
            {**call, "function": {**call["function"], "arguments": _arguments(call["function"])}}
            for call in message["tool_calls"]
        ]
    return kept


def _arguments(function: Message) -> object:
    try:
        found = json.loads(function["arguments"])
    except (ValueError, TypeError):
        found = None
    return found if isinstance(found, dict) else function["arguments"]


def _marked(message: Message) -> Iterator[Message]:
    """The message of an answer with the mark as the last that it says, in a call or as text."""
    if calls := message.get("tool_calls"):
        last = {**calls[-1], "function": {**calls[-1]["function"], "arguments": {MARKED: MARKED}}}
        yield {**message, "tool_calls": [*calls[:-1], last]}
    yield {"role": "assistant", "content": MARKED}
