"""The tool parser plugins of a vLLM server: toolgain's own, or a file of the user's."""

from pathlib import Path

from toolgain.common.errors import UserError

PLUGIN = Path(__file__).parent / "nemotron_tool_parser.py"
"""toolgain's own tool parser for Nemotron Nano 9B v2 (name: `nemotron_json`)."""


def plugin_path(named: str | None) -> Path | None:
    """The file of a tool parser plugin: toolgain's own for `nemotron-nano-v2`, or as given.

    Raises:
        UserError: the file does not exist.
    """
    if not named:
        return None
    path = PLUGIN if named == "nemotron-nano-v2" else Path(named).resolve()
    if not path.is_file():
        raise UserError(
            f"tool_parser_plugin: {named} is neither `nemotron-nano-v2` nor a file that exists."
        )
    return path
