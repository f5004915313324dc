"""What the harness's own code makes of an answer: the only judge of what is a call.

The harness's handler and decoders say which answers are calls that can be scored. They run in the
harness's environment: inside its adapter by `HarnessCode`, and from outside by `decoding`, which
starts this module there as a process. Nothing else in toolgain decides what a call is.
"""

import ast
import builtins
import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

from toolgain.common.errors import StageError, UserError

Answer: TypeAlias = object
"""What the harness keeps of an answer: a list of `{name: arguments}`, or text."""

CALL, UNDECODABLE, TEXT, NOTHING = "call", "undecodable", "text", "nothing"


class DecodedAnswer(NamedTuple):
    """What the harness makes of one answer."""

    kind: str
    """`call`: its decoders read every call; `undecodable`: there are calls, and one of the decoders
    fails; `text`; `nothing`: no call and no text."""
    calls: int
    """Calls that were made, decoded or not."""
    scored: bool
    """The decoder of single-turn items finds a call."""
    executed: bool
    """The decoder of multi-turn items finds calls to execute."""

    @property
    def is_call(self) -> bool:
        """Both decoders read it, so it is proof that the server parses calls."""
        return self.kind == CALL

    def found_calls(self, multi_turn: bool) -> int:
        """Calls that the harness scores: all or none."""
        return self.calls if (self.executed if multi_turn else self.scored) else 0


Decode: TypeAlias = Callable[[Sequence[Answer]], list[DecodedAnswer]]
"""What the harness makes of each answer."""


class HarnessCode:
    """nvidia-bfcl's handler for native function calling; needs the harness's environment."""

    def __init__(self) -> None:
        from bfcl import utils
        from bfcl.eval_checker.multi_turn_eval import multi_turn_utils
        from bfcl.model_handler.api_inference import openai

        # The handler prints every answer.
        openai.print = lambda *words, **options: None
        self._handler = openai.OpenAIHandler("policy", base_url="", native_calling=True)
        self._is_empty = utils.is_empty_output
        self._is_nothing_to_execute = multi_turn_utils.is_empty_execute_response
        place = multi_turn_utils.execute_multi_turn_func_call.__code__
        self._known = {*dir(builtins), *vars(multi_turn_utils), *place.co_varnames}

    def answer(self, body: dict[str, object]) -> Answer:
        """What the handler takes out of a chat completion."""
        answer: Answer = self._handler._parse_query_response_FC(body)["model_responses"]
        return answer

    def decode(self, answer: Answer) -> DecodedAnswer:
        """What the decoders make of `answer`."""
        calls = len(answer) if isinstance(answer, list) else 0
        scored, executed = self._is_scored(answer), self._is_executed(answer)
        if calls:
            kind = CALL if scored and executed else UNDECODABLE
        else:
            kind = TEXT if isinstance(answer, str) and answer.strip() else NOTHING
        return DecodedAnswer(kind, calls, scored, executed)

    def runs(self, answer: Answer, offered: Sequence[str]) -> int:
        """Calls of `answer` that name no offered function and that Python finds something to run
        for, where the evaluator of multi-turn items evaluates them."""
        if not isinstance(answer, list):
            return 0
        names = [name for call in answer if isinstance(call, dict) for name in call]
        return sum(name not in offered and self._is_code(name) for name in names)

    def _is_code(self, name: str) -> bool:
        try:
            node = ast.parse(f"{name}()", mode="eval").body
        except (SyntaxError, ValueError, MemoryError, RecursionError):
            return False
        if isinstance(node, ast.Call):
            node = node.func
        while isinstance(node, ast.Attribute):
            node = node.value
        return not isinstance(node, ast.Name) or node.id in self._known

    def _is_scored(self, answer: Answer) -> bool:
        try:
            return not self._is_empty(self._handler.decode_ast(answer, "Python"))
        except Exception:
            return False

    def _is_executed(self, answer: Answer) -> bool:
        try:
            return not self._is_nothing_to_execute(self._handler.decode_execute(answer))
        except Exception:
            return False


def _decoded(found: list[Any]) -> DecodedAnswer:
    kind, calls, scored, executed = found
    return DecodedAnswer(kind, calls, scored, executed)


class Decoder:
    """The harness's code in a process of its environment."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def decode(self, answers: Sequence[Answer]) -> list[DecodedAnswer]:
        """What the decoders make of each answer."""
        return [_decoded(found) for found in self._ask("answers", list(answers))]

    def read(self, body: dict[str, object]) -> tuple[Answer, DecodedAnswer]:
        """What the handler takes out of a chat completion, and what the decoders make of it."""
        ((answer, found),) = self._ask("bodies", [body])
        return answer, _decoded(found)

    def _ask(self, what: str, values: list[object]) -> list[Any]:
        assert self._process.stdin and self._process.stdout
        try:
            self._process.stdin.write(json.dumps({what: values}) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except OSError:
            line = ""
        if not line:
            raise StageError(
                "harness: its decoder ended; run `python -m toolgain.bfcl.decoder` in the "
                "harness's environment to see why."
            )
        found: list[Any] = json.loads(line)
        return found


@contextmanager
def decoding(bfcl_env: Path) -> Iterator[Decoder]:
    """The harness's decoder, in the environment `bfcl_env`, while the block runs.

    Raises:
        UserError: there is no such environment.
    """
    from toolgain.common.package import ROOT

    python = bfcl_env.absolute() / "bin" / "python"
    if not python.exists():
        raise UserError(f"--bfcl-env: {python} does not exist; `make setup` makes .venvs/bfcl.")
    with subprocess.Popen(
        [str(python), "-P", "-s", "-m", "toolgain.bfcl.decoder"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        encoding="utf-8",
        env={"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1", "HOME": "/nonexistent"},
    ) as process:
        try:
            yield Decoder(process)
        finally:
            process.terminate()


def _serve() -> None:
    """Answer lines of JSON on standard input until it ends."""
    out, sys.stdout = sys.stdout, sys.stderr
    code = HarnessCode()
    for line in sys.stdin:
        request = json.loads(line)
        found: list[object] = [code.decode(answer) for answer in request.get("answers", [])]
        for body in request.get("bodies", []):
            answer = code.answer(body)
            found.append([answer, code.decode(answer)])
        print(json.dumps(found), file=out, flush=True)


if __name__ == "__main__":
    _serve()
