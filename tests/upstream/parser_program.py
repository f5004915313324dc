"""The plugin in one release of vLLM: `VLLM_PYTHON -P parser_program.py PLUGIN SOURCE`.

SOURCE holds the package `vllm` of a release, which stands before that of the Python's environment:
its other packages are those of another release, so what imports here imports in its own environment
too, or names what it lacks. The last line of its output is what the parser reads in ANSWER, whole
and as a stream.
"""

import importlib.util
import json
import sys

ANSWER = 'Done. <TOOLCALL>[{"name": "add", "arguments": {"a": 1}}]</TOOLCALL>'


def main(plugin: str, source: str) -> None:
    sys.path.insert(0, source)
    spec = importlib.util.spec_from_file_location("nemotron_tool_parser", plugin)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    import vllm

    parser = module.ToolParserManager.get_tool_parser(module.NAME)
    whole = parser(None).extract_tool_calls(ANSWER, None)
    stream, pieces = parser(None), []
    for end in range(1, len(ANSWER) + 1):
        piece = stream.extract_tool_calls_streaming(
            ANSWER[: end - 1], ANSWER[:end], ANSWER[end - 1], [], [], [], None
        )
        pieces += [piece.model_dump(exclude_unset=True)] if piece else []
    print(
        json.dumps(
            {
                "from": vllm.__file__,
                "text": whole.content,
                "calls": [[c.function.name, c.function.arguments] for c in whole.tool_calls],
                "streamed_text": "".join(piece.get("content") or "" for piece in pieces),
                "streamed_calls": [
                    [call["function"]["name"], call["function"]["arguments"]]
                    for piece in pieces
                    for call in piece.get("tool_calls") or []
                ],
            }
        )
    )


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
