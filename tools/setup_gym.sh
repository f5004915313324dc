#!/usr/bin/env bash
# Make the environment of NeMo Gym from its lock file, and those of servers that need more.
#
#   tools/setup_gym.sh ENVIRONMENT [SERVER ...]        SERVER: such as resources_servers/mcqa
#
# Most servers need Gym alone and run in ENVIRONMENT. One with requirements of its own gets an
# environment on top of it, ENVIRONMENT/servers/SERVER, so that nothing is installed when it starts.
# Python 3.12 is $GYM_PYTHON, or python3.12 or python3 of the PATH, or pyenv's. Exit code 2 without.
set -euo pipefail
cd "$(dirname "$0")/.."
environment=$1
shift

python=
candidates=(python3.12 python3 "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3.12.*/bin/python3.12)
if [ -n "${GYM_PYTHON:-}" ]; then
    candidates=("$GYM_PYTHON")
fi
for candidate in "${candidates[@]}"; do
    if "$candidate" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 12))' 2> /dev/null; then
        python=$candidate
        break
    fi
done
if [ -z "$python" ] && [ -n "${GYM_PYTHON:-}" ]; then
    echo "make setup-gym: GYM_PYTHON: NeMo Gym needs Python 3.12, and $GYM_PYTHON is" \
        "$("$GYM_PYTHON" --version 2>&1 || true)" >&2
    exit 2
fi
if [ -z "$python" ]; then
    echo "make setup-gym: NeMo Gym needs Python 3.12, and neither python3.12 nor python3 of the PATH is" \
        "one, and pyenv has none; install it, or name it:" \
        "make setup-gym GYM_PYTHON=/path/to/python3.12" >&2
    exit 2
fi

lock=workflow/envs/gym.lock
if ! cmp --silent "$lock" "$environment/.installed"; then
    "$python" -m venv "$environment"
    tools/install.sh "$environment" "$lock"
    cp "$lock" "$environment/.installed"
fi
packages=$("$environment/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
for server in "$@"; do
    requirements=$packages/$server/requirements.txt
    if [ ! -f "$requirements" ]; then
        echo "make setup-gym: GYM_SERVERS: $server is no server of nemo-gym with a requirements.txt;" \
            "expected a folder such as resources_servers/mcqa" >&2
        exit 2
    fi
    target=$environment/servers/$server
    "$environment/bin/python" -m venv "$target"
    # What Gym itself brings is found there, not installed again.
    echo "$packages" > "$("$target/bin/python" -c \
        'import sysconfig; print(sysconfig.get_path("purelib"))')/gym.pth"
    grep --invert-match --fixed-strings ../.. "$requirements" > "$target/requirements.txt" || true
    "$target/bin/python" -m pip install --quiet --disable-pip-version-check \
        --requirement "$target/requirements.txt"
done
