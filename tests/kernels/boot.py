"""Try the sandbox on other kernels: packages of Debian and Ubuntu, booted in an emulator.

    python tests/kernels/boot.py linux-image-6.1.0-56-cloud-amd64_6.1.192-2_amd64.deb ...

Each is booted by qemu without KVM, with this machine's Python in memory, and every way out of
`tests/evaluation/escapes.py` is tried inside, as root and as another user, with all layers and
without namespaces (`inside.py`). Prints a line for each; exit code 1 where a way out
worked that the sandbox does not say is open. Takes half a minute of processor time for a kernel.
Debian packages: qemu-system-x86 busybox-static cpio, and the kernels (`apt-get download`; Ubuntu's
are linux-image-unsigned-*-generic).
"""

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
MARK = "KERNEL"
"""Begins a line that the machine says."""
PROGRAMS = ("python3", "setpriv", "sleep", "su", "true", "env", "sh")
LIBRARIES = ("libseccomp.so.2",)
PACKAGES = (
    "collections",
    "concurrent",
    "ctypes",
    "encodings",
    "importlib",
    "json",
    "logging",
    "re",
)
PACKAGES += ("urllib",)
EXTENSIONS = ("_ctypes", "_json", "_posixsubprocess", "fcntl", "mmap", "resource", "termios")
EXTENSIONS += ("_struct",)
"""What the tests import, as far as it is not built in."""
OURS = (
    "tests/kernels/inside.py",
    "tests/unit/sandboxed.py",
    "tests/unit/denied.py",
    "tests/evaluation/escapes.py",
    "workflow/toolgain/evaluation/sandbox.py",
)
INIT = f"""#!/bin/busybox sh
export PATH=/usr/bin:/bin HOME=/root
/bin/busybox --install -s /bin
# In the kernel's first file system there is no pivot_root(2).
mkdir -p /new && mount -t tmpfs -o mode=755 tmpfs /new
for part in bin usr lib lib64 etc tests workflow; do cp -a /$part /new; done
cd /new && mkdir -p proc sys dev tmp run root var && chmod 1777 tmp
mount -t proc proc proc && mount -t sysfs sysfs sys && mount -t devtmpfs dev dev
mkdir -p dev/pts dev/shm && mount -t devpts -o mode=620,ptmxmode=666 devpts dev/pts
mount -t tmpfs -o mode=1777 tmpfs dev/shm
cat > second <<EOF
#!/bin/busybox sh
ifconfig lo up
export PYTHONPATH=/tests/unit:/tests/evaluation:/workflow
python3 -B /tests/kernels/inside.py {MARK}
poweroff -f
EOF
chmod +x second
exec switch_root /new /second
"""
"""The first program of the machine."""


def make_image(image: Path, folder: Path) -> None:
    """Write the machine's file system, as the kernel takes it into memory."""

    def add(path: Path, source: Path | None = None) -> None:
        target = folder / str(path).lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        if not target.exists():
            shutil.copy2(source or path, target)

    (folder / "bin").mkdir(parents=True)
    add(Path("/bin/busybox"))
    wanted = [Path("/usr/bin", name) for name in PROGRAMS]
    wanted += [Path("/usr/lib/x86_64-linux-gnu", name) for name in LIBRARIES]
    library = Path("/usr/lib", Path("/usr/bin/python3").resolve().name)
    for path in (*library.glob("*.py"), *library.glob("__pycache__/*.pyc")):
        add(path)
    for package in PACKAGES:
        shutil.copytree(library / package, folder / str(library / package).lstrip("/"))
    for name in EXTENSIONS:
        wanted += (library / "lib-dynload").glob(f"{name}.*.so")
    for one in wanted:
        add(one, one.resolve())
        said = subprocess.run(["ldd", one], capture_output=True, text=True, check=False).stdout
        for word in said.split():
            if word.startswith("/"):
                add(Path(word), Path(word).resolve())
    for one in OURS:
        add(Path("/", one), ROOT / one)
    (folder / "etc").mkdir(exist_ok=True)
    (folder / "etc/passwd").write_text(
        "root:x:0:0::/root:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n"
    )
    (folder / "etc/group").write_text("root:x:0:\nnogroup:x:65534:\n")
    (folder / "init").write_text(INIT)
    (folder / "init").chmod(0o755)
    with image.open("wb") as file:
        subprocess.run(
            "find . | cpio --quiet -o -H newc",
            shell=True,
            cwd=folder,
            stdout=file,
            check=True,
        )


def lines_of(kernel: Path, image: Path, folder: Path) -> list[dict[str, object]]:
    """Boot the kernel of a package and return what the machine said."""
    boot = folder / "boot"
    boot.mkdir()
    unpacked = f"dpkg-deb --fsys-tarfile {kernel} | tar -x -C {boot} --wildcards './boot/vmlinuz*'"
    subprocess.run(unpacked, shell=True, check=True)
    said = subprocess.run(
        [
            *(
                "nice",
                "-n",
                "15",
                "qemu-system-x86_64",
                "-accel",
                "tcg",
                "-cpu",
                "max",
                "-smp",
                "1",
            ),
            *("-m", "1536", "-nographic", "-no-reboot", "-nic", "none", "-initrd", str(image)),
            *("-kernel", str(next(boot.glob("boot/vmlinuz*")))),
            *("-append", "console=ttyS0 panic=-1 quiet no_timer_check"),
        ],
        capture_output=True,
        check=False,
        timeout=3600,
        stdin=subprocess.DEVNULL,
    ).stdout.decode(errors="replace")
    found = [
        json.loads(line[line.index(MARK) + len(MARK) :])
        for line in said.splitlines()
        if MARK in line
    ]
    if not found:
        print(said[-3000:], file=sys.stderr)
    return found


def main(kernels: list[str]) -> int:
    """Try all; returns the exit code."""
    bad = 0
    with tempfile.TemporaryDirectory() as name:
        image = Path(name, "image")
        make_image(image, Path(name, "root"))
        for number, kernel in enumerate(kernels):
            folder = Path(name, str(number))
            folder.mkdir()
            lines = lines_of(Path(kernel).resolve(), image, folder)
            bad += not lines
            for line in lines:
                bad += bool(line.get("unsaid") or line.get("error"))
                print(json.dumps(line), flush=True)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
