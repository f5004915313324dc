"""Runs in the machine that `boot.py` starts: tries the sandbox on its kernel, and says a line of
JSON, after the word given, for each user and each thing left out."""

import json
import os
import sys
import tempfile
import traceback
from pathlib import Path

from sandboxed import NO_NAMESPACES, Place, admitted, ways_out

LEFT_OUT = {"nothing": (), "namespaces": NO_NAMESPACES}


def tried(user: int, without: tuple[str, ...]) -> dict[str, object]:
    """What the kernel gives, which ways out worked, and which of them it was not said to leave."""
    place = Place(Path(tempfile.mkdtemp()), user)
    place.without = without
    layers = place.layers()
    worked = ways_out(place, layers)
    return {
        "landlock": layers.landlock,
        "open": layers.open,
        "missing": layers.missing,
        "worked": sorted(worked),
        "unsaid": sorted(worked - admitted(layers)),
    }


def say_all() -> None:
    """One line for each try."""
    for name, without in LEFT_OUT.items():
        for user in (0, 65534):
            line: dict[str, object] = {"kernel": os.uname().release, "user": user, "left_out": name}
            try:
                line |= tried(user, without)
            except Exception:
                line["error"] = traceback.format_exc()[-2000:]
            print(sys.argv[1], json.dumps(line), flush=True)


if __name__ == "__main__":
    say_all()
