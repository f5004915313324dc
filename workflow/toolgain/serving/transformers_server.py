"""`transformers serve` behind a key, with batched greedy decoding. Runs in the TRL environment.

    python -m toolgain.serving.transformers_server policy --port 8000

The model's folder is also the name it is served by. The key comes from the environment variable
TOOLGAIN_SERVER_KEY; a request without it gets 401. What differs from plain `transformers serve`:

- greedy requests go through `toolgain.serving.transformers_engine`, if it agrees with the model;
  others are answered one by one as usual;
- a temperature above 0 samples, as with vLLM from the whole distribution where the model's
  configuration has no top_k; plain `transformers serve` stays greedy where the configuration is;
- a prompt that does not fit into the context gets 400, as with vLLM, not a cut answer;
- tool calls are read as the TRL reward reads them (`toolgain.serving.answers`), in the form that
  the model's chat template writes; one that cannot be read comes back as text, as with vLLM.
"""

import argparse
import asyncio
import json
import logging
import os
import secrets
import sys
from collections.abc import Awaitable, Callable, Collection
from typing import Any

import torch
import uvicorn
from fastapi import HTTPException, Request, Response
from fastapi.responses import JSONResponse
from transformers import AutoModelForCausalLM
from transformers.cli.serving import chat_completion
from transformers.cli.serving.chat_completion import ChatCompletionHandler
from transformers.cli.serving.completion import CompletionHandler
from transformers.cli.serving.model_manager import ModelManager
from transformers.cli.serving.response import ResponseHandler
from transformers.cli.serving.server import build_server
from transformers.cli.serving.systemone import SystemOneHandler
from transformers.cli.serving.transcription import TranscriptionHandler
from transformers.cli.serving.utils import (
    BaseGenerateManager,
    GenerateManager,
    GenerationState,
    ToolCall,
)

from toolgain.common.errors import UserError
from toolgain.models.loaded import check_loaded
from toolgain.serving import answers
from toolgain.serving.answers import AnswerReader
from toolgain.serving.transformers_engine import ATTENTION, Engine

log = logging.getLogger(__name__)

KEY_VARIABLE = "TOOLGAIN_SERVER_KEY"


class Manager(GenerateManager):  # type: ignore[misc]
    """Generation of `transformers serve`, with the engine in place of it where it can be used."""

    def __init__(self, engine: Engine | None, context: int | None) -> None:
        super().__init__()
        self.engine, self.context = engine, context

    async def generate_non_streaming(
        self, model: Any, processor: Any, inputs: Any, gen_config: Any, request_id: str
    ) -> tuple[str, int, Any]:
        """Text, prompt length and tokens of the answer."""
        prompt: list[int] = inputs["input_ids"][0].tolist()
        limit = int(gen_config.max_new_tokens)
        if self.context:
            if len(prompt) >= self.context:
                raise HTTPException(
                    400,
                    f"This model's maximum context length is {self.context} tokens; the prompt "
                    f"has {len(prompt)}.",
                )
            gen_config.max_new_tokens = limit = min(limit, self.context - len(prompt))
        if self.engine is None or not _is_plain_greedy(gen_config):
            answer: tuple[str, int, Any] = await super().generate_non_streaming(
                model, processor, inputs, gen_config, request_id
            )
            return answer
        future = self.engine.submit(prompt, limit, _ends(gen_config))
        tokens = await asyncio.wrap_future(future)
        return processor.decode(tokens, skip_special_tokens=True), len(prompt), tokens


def _is_plain_greedy(gen_config: Any) -> bool:
    changed = (
        gen_config.do_sample,
        gen_config.stop_strings,
        getattr(gen_config, "sequence_bias", None),
        (gen_config.repetition_penalty or 1.0) != 1.0,
        (gen_config.num_beams or 1) != 1,
    )
    return not any(changed)


def _ends(gen_config: Any) -> frozenset[int]:
    ends = gen_config.eos_token_id
    return frozenset(ends if isinstance(ends, list) else [] if ends is None else [ends])


class ChatHandler(ChatCompletionHandler):  # type: ignore[misc]
    """Chat completions whose temperature is what the request says."""

    def _build_generation_config(
        self, body: dict[str, object], model_generation_config: Any, use_cb: bool = False
    ) -> Any:
        config = super()._build_generation_config(body, model_generation_config, use_cb=use_cb)
        if body.get("temperature"):
            config.do_sample = True
            config.top_k = model_generation_config.top_k or 0
        return config


class ServerState(GenerationState):  # type: ignore[misc]
    """Hands out our manager."""

    def __init__(self, manager: Manager) -> None:
        super().__init__()
        self._manager = manager

    def get_manager(self, model_id: str, use_cb: bool = False) -> BaseGenerateManager:
        return self._manager


def parser(reader: AnswerReader) -> Callable[..., Any]:
    """What takes the place of transformers' `parse_assistant_message`: the reader that the TRL
    reward uses too; what it cannot read as calls with arguments stays text."""

    def parsed(
        processor: Any,
        model: Any,
        generated_ids: Any,
        input_ids: Any,
        cleaned_content: str = "",
        tools: Any = None,
    ) -> tuple[str, str | None, list[Any] | None]:
        ids = generated_ids.tolist() if hasattr(generated_ids, "tolist") else generated_ids
        prompt = processor.decode(input_ids[0] if input_ids.ndim > 1 else input_ids)
        found = reader.read(ids, prompt, tools)
        if found is None:
            log.info("serve: the calls of an answer could not be read; it stays text")
            return cleaned_content, None, None
        calls = [ToolCall(call.name, json.dumps(call.arguments)) for call in found.calls]
        return found.text, found.thought, calls or None

    return parsed


def build_app(options: argparse.Namespace, key: str | None) -> Any:
    """The application of `transformers serve` for one model, which is loaded at once."""
    models = ModelManager(
        device=options.device,
        dtype=options.dtype,
        attn_implementation=options.attn_implementation,
        force_model=options.model,
    )
    model, processor = models.load_model_and_processor(models.process_model_name(options.model))
    tokenizer = getattr(processor, "tokenizer", processor)
    endings = {*_ends(model.generation_config), tokenizer.eos_token_id} - {None}
    folder = os.path.realpath(options.model)
    check_loaded(folder, _missing_weights(folder), model, tokenizer, endings)
    reader = answers.reader(tokenizer, model.config.model_type, endings)
    context = options.max_model_len or getattr(model.config, "max_position_embeddings", None)
    state = ServerState(Manager(None if options.plain else _engine(model, options.rows), context))
    chat_completion.parse_assistant_message = parser(reader)
    app = build_server(
        models,
        ChatHandler(model_manager=models, generation_state=state),
        completion_handler=CompletionHandler(model_manager=models, generation_state=state),
        response_handler=ResponseHandler(model_manager=models, generation_state=state),
        transcription_handler=TranscriptionHandler(models, state),
        systemone_handler=SystemOneHandler(model_manager=models, generation_state=state),
        generation_state=state,
    )
    if key:
        expected = f"Bearer {key}".encode()

        @app.middleware("http")  # type: ignore[untyped-decorator]
        async def check_key(
            request: Request, call_next: Callable[[Request], Awaitable[Response]]
        ) -> Response:
            given = request.headers.get("authorization", "").encode()
            if not secrets.compare_digest(given, expected):
                return JSONResponse({"error": "missing or wrong key"}, status_code=401)
            # transformers' own page of models looks into the Hub's cache, and fails without one.
            if request.url.path == "/v1/models":
                row = {"id": options.model, "object": "model", "max_model_len": context}
                return JSONResponse({"object": "list", "data": [row]})
            return await call_next(request)

    return app


def _missing_weights(folder: str) -> Collection[str]:
    """Names of weights that a model's folder lacks, found without reading them."""
    try:
        _, loading = AutoModelForCausalLM.from_pretrained(
            folder, device_map="meta", output_loading_info=True
        )
    except ValueError:
        # A class of its own, such as one that also sees pictures.
        return ()
    missing: Collection[str] = loading["missing_keys"]
    return missing


def _engine(model: Any, rows: int) -> Engine | None:
    """An engine for `model`, or None where it would not give the model's own answers."""
    before = model.config._attn_implementation
    if model.device.type != "cpu":
        return None
    try:
        model.set_attn_implementation(ATTENTION)
        engine = Engine(model, rows)
        if engine.agrees():
            engine.start()
            return engine
    except Exception as error:
        log.warning("serve: the engine does not suit this model: %s", error)
    model.set_attn_implementation(before)
    return None


def serve_transformers() -> None:
    """Serve until the process is ended.

    The exit code is 2 where the options or the model's files do not fit.
    """
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", help="folder of the model, relative to the working folder")
    parser.add_argument("--uds", required=True, help="unix socket to listen on")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--attn-implementation")
    parser.add_argument("--max-model-len", type=int, help="context length; default: the model's")
    parser.add_argument("--rows", type=int, default=8, help="requests decoded at once")
    parser.add_argument("--plain", action="store_true", help="one request after the other")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    # The key leaves the environment before anything else can see it.
    key = os.environ.pop(KEY_VARIABLE, None)
    if "OMP_NUM_THREADS" in os.environ:
        torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    try:
        app = build_app(options, key)
    except UserError as error:
        print(f"UserError: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    uvicorn.run(
        app,
        uds=options.uds,
        log_level="warning",
        timeout_keep_alive=300,
    )


if __name__ == "__main__":
    serve_transformers()
