"""Gym's xlam_fc, whose verifier loops where the model says "Loop.". Runs in Gym's environment."""

from typing import Any

from app import XlamFcResourcesServer  # type: ignore[import-not-found]

read_calls = XlamFcResourcesServer._extract_function_calls_from_response


def loop_or_read_calls(server: object, body: Any) -> Any:
    while "Loop." in str(body.response.output):
        pass
    return read_calls(server, body)


XlamFcResourcesServer._extract_function_calls_from_response = loop_or_read_calls

if __name__ == "__main__":
    XlamFcResourcesServer.run_webserver()
