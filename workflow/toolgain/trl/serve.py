"""`transformers serve` that asks for a key. Runs in the TRL environment.

    python -m toolgain.trl.serve policy --host 127.0.0.1 --port 8000

The key comes from the environment variable TOOLGAIN_SERVER_KEY; a request without it gets 401.
"""

import argparse
import os
import secrets
from collections.abc import Awaitable, Callable
from typing import Any

import uvicorn
from fastapi import Request, Response
from fastapi.responses import JSONResponse
from transformers.cli.serving.chat_completion import ChatCompletionHandler
from transformers.cli.serving.completion import CompletionHandler
from transformers.cli.serving.model_manager import ModelManager
from transformers.cli.serving.response import ResponseHandler
from transformers.cli.serving.server import build_server
from transformers.cli.serving.systemone import SystemOneHandler
from transformers.cli.serving.transcription import TranscriptionHandler
from transformers.cli.serving.utils import GenerationState

KEY_VARIABLE = "TOOLGAIN_SERVER_KEY"


def build_app(options: argparse.Namespace, key: str | None) -> Any:
    """The application of `transformers serve` for one model, behind a key."""
    manager = ModelManager(
        device=options.device,
        dtype=options.dtype,
        attn_implementation=options.attn_implementation,
        continuous_batching=options.continuous_batching,
        force_model=options.model,
    )
    state = GenerationState(continuous_batching=options.continuous_batching)
    app = build_server(
        manager,
        ChatCompletionHandler(model_manager=manager, generation_state=state),
        completion_handler=CompletionHandler(model_manager=manager, generation_state=state),
        response_handler=ResponseHandler(model_manager=manager, generation_state=state),
        transcription_handler=TranscriptionHandler(manager, state),
        systemone_handler=SystemOneHandler(model_manager=manager, generation_state=state),
        generation_state=state,
    )
    if key:
        expected = f"Bearer {key}".encode()

        @app.middleware("http")
        async def check_key(
            request: Request, call_next: Callable[[Request], Awaitable[Response]]
        ) -> Response:
            given = request.headers.get("authorization", "").encode()
            if not secrets.compare_digest(given, expected):
                return JSONResponse({"error": "missing or wrong key"}, status_code=401)
            return await call_next(request)

    return app


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", help="Folder of the model; also the name it is served by.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--max-model-len", type=int)
    parser.add_argument("--continuous-batching", action="store_true")
    parser.add_argument("--attn-implementation")
    options = parser.parse_args()
    # The key leaves the environment before anything else can see it.
    app = build_app(options, os.environ.pop(KEY_VARIABLE, None))
    uvicorn.run(app, host=options.host, port=options.port, log_level="warning")


if __name__ == "__main__":
    main()
