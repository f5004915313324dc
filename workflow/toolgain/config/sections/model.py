"""`model`: the model before the training."""

from typing import Literal

from pydantic import Field

from toolgain.config.sections.base import Section


class ModelSection(Section):
    """The model before the training: a Hugging Face folder, evaluated and trained from."""

    path: str = Field(description="Folder of the model (Hugging Face format).")
    name: str | None = Field(None, description="Name shown in the report; null: the folder's.")
    chat_template: str | None = Field(
        None,
        description="A chat template file that replaces the model's own, for training, "
        "export and serving alike.",
    )
    patch: Literal["none", "nemotron-nano-v2"] = Field(
        "none",
        description="An exact, checked replacement in a private copy of the model's chat template.",
    )
    trust_remote_code: bool = Field(
        False,
        description="Run the Python code that the model brings along (`auto_map` in its "
        "config.json), with all your rights and outside of the sandbox. NeMo RL and vLLM then load "
        "it; a model that needs it is refused without.",
    )
    response_template: str | None = Field(
        None,
        description="What reads the model's tool calls in the TRL reward and in `transformers "
        "serve`: `hermes`, `qwen3_xml`, `llama3_json`, `mistral`, `mistral_args`, `nemotron_json`, "
        "or a JSON file with a `response_template` of transformers; null: the tokenizer's own, "
        "else the one of these that reads a call which the model's chat template writes.",
    )
