#!/usr/bin/env bash
# What only a GPU can show: GRPO with TRL on CUDA in bfloat16, stopped and resumed, and the greedy
# answers of its export. One GPU, a few minutes, no network.
#
#   tests/gpu/run.sh [--cpu]        GPU_PYTHON: a Python with torch and transformers
#
# Packages that this Python lacks are taken from wheels in tests/gpu/wheels, which `make gpu-wheels`
# fetches for Python 3.12 (23 MB). git ignores them: where a copy of the tracked files goes to the
# machine, they must be named to go along. Without a GPU it says so and ends with 0. --cpu is a dry run
# of exactly this, on the CPU.
set -euo pipefail
cd "$(dirname "$0")/../.."

python=${GPU_PYTHON:-python3}
if [ "${1:-}" != --cpu ] && ! "$python" -c 'import sys, torch; sys.exit(not torch.cuda.is_available())'; then
    echo "test-gpu: skipped, there is no GPU that torch of $python can use"
    exit 0
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# An environment that sees the packages of $python, be that an environment itself.
"$python" -m venv --without-pip "$work/env"
site=$("$work/env/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
shopt -s nullglob
wheels=(tests/gpu/wheels/*.whl)
if [ ${#wheels[@]} != 0 ] && ! "$python" -c 'import datasets, pydantic, trl' 2> /dev/null; then
    "$python" -m pip install --quiet --no-index --no-deps --no-compile --target "$work/carried" "${wheels[@]}"
    echo "$work/carried" > "$site/1-carried.pth"
fi
"$python" -c 'import sysconfig; print(sysconfig.get_path("purelib"), sysconfig.get_path("platlib"), sep="\n")' \
    > "$site/2-given.pth"
cat > "$work/env/bin/toolgain" << EOF
#!$work/env/bin/python
from toolgain.cli import main
main()
EOF
chmod +x "$work/env/bin/toolgain"

# One thread is enough for a model this small, and two processes on a busy machine wait for each other.
export OMP_NUM_THREADS=1 PYTHONPATH=$PWD/workflow:$PWD/tests/training HF_HUB_OFFLINE=1 PYTHONUNBUFFERED=1
"$work/env/bin/python" tests/gpu/check.py "$work/results" "$@"
