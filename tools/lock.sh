#!/usr/bin/env bash
# Write the lock files from the pins, with the hashes of every file: needs uv.
#
#   tools/lock.sh [OPTION OF uv pip compile ...], such as --upgrade-package NAME
#
# torch is not in them, nor what only its build for GPUs needs: which build of the pinned version is
# installed is decided by pip's configuration on the machine.
set -euo pipefail
cd "$(dirname "$0")/.."

compile() {
    uv pip compile --quiet --universal --python-version "${python:-3.11}" --generate-hashes --no-annotate \
        --no-emit-index-url --custom-compile-command "make lock" "$@"
}

left_out=(--no-emit-package torch --no-emit-package triton)
while read -r name; do
    left_out+=(--no-emit-package "$name")
done < <(compile "$@" workflow/envs/trl.txt 2> /dev/null \
    | sed -nE 's/^((nvidia|cuda)-[a-z0-9-]+)==.*/\1/p')
compile "$@" pyproject.toml --output-file workflow/envs/toolgain.lock
compile "$@" --all-extras pyproject.toml --output-file workflow/envs/dev.lock \
    --constraint <(grep -E '^[A-Za-z0-9._-]+==' workflow/envs/toolgain.lock | sed 's/ .*//')
compile "$@" workflow/envs/bfcl.txt --output-file workflow/envs/bfcl.lock
compile "$@" "${left_out[@]}" workflow/envs/trl.txt --output-file workflow/envs/trl.lock
python=3.12 compile "$@" workflow/envs/gym.txt --output-file workflow/envs/gym.lock
# For the tests of vLLM: with torch, since its extension wants this one.
compile "$@" tests/vllm/requirements.txt --override tests/vllm/overrides.txt \
    --no-emit-package torchaudio --no-emit-package torchvision --no-emit-package intel-openmp \
    --no-emit-package intel-cmplr-lib-ur --no-emit-package tcmlib --no-emit-package umf \
    --output-file tests/vllm/requirements.lock
