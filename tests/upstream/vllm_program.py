"""vLLM's own program up to the point where it would load the model, for test_vllm.py.

    VLLM_PYTHON vllm_program.py < LINES

It runs under a Python that holds vLLM and knows nothing of toolgain. LINES is a JSON list of
argument lists (`["serve", "MODEL", "--flag", ...]`). The last line of its output is a JSON list
with one answer each: `refused`, why vLLM would end, or else the version, the arguments as vLLM
understood them, and what the plugin's parser reads in ANSWER.
"""

import argparse
import contextlib
import io
import json
import sys

from vllm import __version__, platforms

ANSWER = 'Done. <TOOLCALL>[{"name": "add", "arguments": {"a": 1}}]</TOOLCALL>'


def main() -> None:
    lines = json.load(sys.stdin)
    if platforms.current_platform.is_unspecified():
        # Neither a GPU nor a build for CPUs. vLLM does the same for its subcommand `bench`.
        from vllm.platforms.cpu import CpuPlatform

        platforms.current_platform = CpuPlatform()
    print(json.dumps([answer(line) for line in lines], default=str))


def answer(line: list[str]) -> dict[str, object]:
    """What vLLM's program makes of one line."""
    from vllm.entrypoints.cli import main as program
    from vllm.entrypoints.cli.serve import ServeSubcommand

    found: dict[str, object] = {}
    ServeSubcommand.cmd = staticmethod(lambda args: found.update(first_steps(args)))
    sys.argv = ["vllm", *line]
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            program.main()
    except (SystemExit, Exception) as error:
        return {"refused": f"{said.getvalue()}{error!r}"}
    return found


def first_steps(args: argparse.Namespace) -> dict[str, object]:
    """The server's first steps, in the place of the server."""
    from vllm.engine.arg_utils import AsyncEngineArgs

    try:
        from vllm.tool_parsers.abstract_tool_parser import ToolParserManager
    except ImportError:
        from vllm.entrypoints.openai.tool_parsers.abstract_tool_parser import ToolParserManager
    from vllm.entrypoints.openai.api_server import validate_api_server_args

    if args.tool_parser_plugin:
        ToolParserManager.import_tool_parser(args.tool_parser_plugin)
    validate_api_server_args(args)
    # As vLLM's own `serve` does first; without it the engine looks for its default model.
    args.model = args.model_tag
    AsyncEngineArgs.from_cli_args(args)
    found: dict[str, object] = {"version": __version__, "arguments": vars(args)}
    if args.tool_parser_plugin:
        parser = ToolParserManager.get_tool_parser(args.tool_call_parser)(None)
        found["read"] = parser.extract_tool_calls(ANSWER, None).model_dump()
    return found


if __name__ == "__main__":
    main()
