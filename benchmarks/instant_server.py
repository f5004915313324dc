"""An HTTP server for the benchmarks that answers chat completions at once."""

import asyncio
import json
from collections.abc import Callable
from multiprocessing.connection import Connection

Reply = Callable[[bytes], tuple[bytes, bytes]]
"""Status line, with further headers behind it, and content for the body of a request."""


def _completion(message: dict[str, object], finish_reason: str) -> bytes:
    choice = {"index": 0, "message": {"role": "assistant", **message}}
    return json.dumps(
        {
            "id": "x",
            "object": "chat.completion",
            "created": 0,
            "model": "policy",
            "choices": [{**choice, "finish_reason": finish_reason}],
            "usage": {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18},
        }
    ).encode()


_FUNCTION = {"name": "get_weather", "arguments": '{"city": "Paris"}'}
ANSWER = _completion({"content": "I cannot help with that."}, "stop")
CALL = _completion(
    {"content": None, "tool_calls": [{"id": "c", "type": "function", "function": _FUNCTION}]},
    "tool_calls",
)


def answer_to(body: bytes) -> bytes:
    """A call for the canary's question, a text for every other."""
    return CALL if b"weather in Paris" in body else ANSWER


def serve(pipe: Connection, reply: Reply) -> None:
    """Send the port through `pipe`, then answer until something is sent back."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                lengths = [
                    int(line.split(b":")[1])
                    for line in head.split(b"\r\n")
                    if line.lower().startswith(b"content-length:")
                ]
                body = await reader.readexactly(lengths[0]) if lengths else b""
                status, content = reply(body) if lengths else (b"200 OK", b'{"data": []}')
                writer.write(
                    b"HTTP/1.1 %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"
                    % (status, len(content), content)
                )
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def listen() -> None:
        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        pipe.send(server.sockets[0].getsockname()[1])
        async with server:
            while not pipe.poll():
                await asyncio.sleep(0.05)

    asyncio.run(listen())
