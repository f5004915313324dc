"""The harness's one way to the model server: NeMo Evaluator's adapter, outside of the sandbox.

    python -P -s -m toolgain.evaluation.gateway --config FILE --socket DESCRIPTOR

It runs in the harness's environment, but in no folder that the harness can write and with nothing
of it imported from there: it holds the server's key, and it writes the record of the requests. It
listens on a socket that it was given, which lies on the sandbox's own loopback where there is one.
Whoever asks shows the key in TOOLGAIN_GATEWAY_KEY, so that another user of the machine gets nothing
where the network is shared.
"""

import argparse
import hmac
import os
import socket
from pathlib import Path

import flask
import waitress
import yaml
from nemo_evaluator.adapters.adapter_config import AdapterConfig
from nemo_evaluator.adapters.server import AdapterServer

KEY_VARIABLE = "TOOLGAIN_GATEWAY_KEY"
REQUEST_SIZE = 64 << 20
"""Bytes. The longest prompt of BFCL v3 is a hundred times smaller."""


def serve_gateway() -> None:
    """Serve until this process is ended."""
    parser = argparse.ArgumentParser(prog="toolgain.evaluation.gateway")
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--socket", type=int, required=True)
    options = parser.parse_args()
    settings = yaml.safe_load(options.config.read_text(encoding="utf-8"))
    key = os.environ.pop(KEY_VARIABLE)
    # Requests wait in the socket's queue until this is ready.
    adapter = AdapterServer(
        api_url=settings["url"],
        output_dir=settings["output_dir"],
        adapter_config=AdapterConfig.model_validate(settings["adapter"]),
        model_name=settings["alias"],
    )
    adapter.app.before_request(lambda: admit(key))
    adapter.app.config["MAX_CONTENT_LENGTH"] = REQUEST_SIZE
    threads = settings["threads"]
    waitress.serve(
        adapter.app,
        sockets=[socket.socket(fileno=options.socket)],
        threads=threads,
        connection_limit=threads + 128,
        channel_timeout=300,
        max_request_body_size=REQUEST_SIZE,
        asyncore_use_poll=True,
    )


def admit(key: str) -> flask.Response | None:
    """None for a chat completion request with the key; else the refusal."""
    given = flask.request.headers.get("Authorization", "").removeprefix("Bearer ")
    if not hmac.compare_digest(given.encode(), key.encode()):
        return flask.Response("missing or wrong key", status=401)
    if not flask.request.path.endswith("/chat/completions"):
        return flask.Response("no such page", status=404)
    return None


if __name__ == "__main__":
    serve_gateway()
