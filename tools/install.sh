#!/usr/bin/env bash
# Install a lock file, hashes checked, into an environment: by uv where there is one, else by pip.
#
#   tools/install.sh ENVIRONMENT LOCK
#
# pip reads the machine's own configuration (mirrors, certificates), uv does not; so pip has the
# last word.
set -euo pipefail
environment=$1 lock=$2
options=(--quiet --require-hashes --no-deps --requirement "$lock")
# Python 3.11's venv brings a setuptools with known holes. Where one is needed, the lock has it.
"$environment/bin/python" -m pip uninstall --quiet --yes setuptools 2> /dev/null
if command -v uv > /dev/null \
    && uv pip install --python "$environment/bin/python" --compile-bytecode "${options[@]}"; then
    exit 0
fi
"$environment/bin/python" -m pip install --disable-pip-version-check "${options[@]}"
