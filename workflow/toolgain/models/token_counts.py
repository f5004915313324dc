"""How many tokens texts have, counted by the model's own tokenizer in another environment."""

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path

from toolgain.common.errors import StageError

_COUNT = """
import json, sys
from tokenizers import Tokenizer
tokenizer = Tokenizer.from_file(sys.argv[1])
print(json.dumps([len(tokenizer.encode(text, add_special_tokens=False).ids)
                  for text in json.load(sys.stdin)]))
"""


def count_tokens(texts: Sequence[str], tokenizer: Path, python: Path) -> list[int]:
    """Tokens of each text, which holds its special tokens already.

    Args:
        texts: Prompts as a chat template wrote them.
        tokenizer: The model's tokenizer.json.
        python: A Python that has `tokenizers`.

    Raises:
        StageError: they cannot be counted; says why.
    """
    for path in (tokenizer, python):
        if not path.is_file():
            raise StageError(f"there is no {path}")
    done = subprocess.run(
        [python, "-c", _COUNT, tokenizer],
        input=json.dumps(texts),
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    if done.returncode != 0:
        last = (done.stderr.strip() or "it said nothing").splitlines()[-1]
        raise StageError(f"the tokenizer does not load: {last[:200]}")
    found: list[int] = json.loads(done.stdout)
    return found
