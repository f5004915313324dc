"""Write workflow/toolgain/bfcl/revisions.json: how the data of bfcl-eval differ from nvidia-bfcl's.

    python tools/bfcl_revisions.py .venvs/bfcl "bfcl-eval 2025.6.8 to 2025.6.15=FOLDER" ...

Each FOLDER is `bfcl_eval/data` of an unpacked package. The file holds ids and digests, no text.
"""

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "workflow"))

from toolgain.bfcl import revisions
from toolgain.bfcl.categories import CATEGORIES
from toolgain.bfcl.data import installed_data, load_full, load_items


def main() -> None:
    """Compare each revision with the installed base, item by item."""
    base = load_full(installed_data(Path(sys.argv[1])))
    found = {}
    for argument in sys.argv[2:]:
        name, _, folder = argument.partition("=")
        theirs = load_items(Path(folder))
        found[name] = {
            category: changed
            for category in CATEGORIES
            if (changed := revisions.changed_items(base[category], theirs[category]))
        }
    # In the order given: of age.
    lines = json.dumps(found).replace('}, "', '},\n"')
    revisions.TABLE.write_text(lines + "\n")


if __name__ == "__main__":
    main()
