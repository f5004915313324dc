#!/usr/bin/env bash
# Run in the container, once on each node. A line per thing, in columns apart by tabs: `probe`,
# the node, the thing, `yes` or `no`, what was said.
# Arguments: how Python is started for the training and for the converters, Python of vLLM's
# environment, module that the converters need, parser plugin (or nothing) and the parser's name.
set -u
training=$1 converters=$2 vllm=$3 module=$4 plugin=$5 parser=$6
node=$(hostname)

say() {
    printf 'probe\t%s\t%s\t%s\t%s\n' "$node" "$1" "$2" "$(printf '%s' "$3" | tail -n 1 | cut -c 1-300)"
}

try() {
    local name=$1 text
    shift
    if text=$("$@" 2>&1); then say "$name" yes "$text"; else say "$name" no "$text"; fi
}

# What starts Python may be several words.
read -r -a training_words <<< "$training"
read -r -a converter_words <<< "$converters"
read -r -a vllm_words <<< "$vllm"

if [ "${training_words[0]}" = uv ]; then
    try "uv" uv --version
fi
try "training Python" "${training_words[@]}" -c 'import sys; print(sys.version.split()[0])'
try "converters' Python" "${converter_words[@]}" -c "
import importlib.util as u, sys
lacking = [n for n in ('torch', 'transformers', 'safetensors', '$module') if u.find_spec(n) is None]
sys.exit('no ' + ', '.join(lacking) if lacking else 0)"
try "vLLM" "${vllm_words[@]}" -c "
from importlib.metadata import version
print(version('vllm'))"
if [ -n "$plugin" ]; then
    try "tool parser" "${vllm_words[@]}" -c "
try:
    from vllm.tool_parsers.abstract_tool_parser import ToolParserManager
except ImportError:
    from vllm.entrypoints.openai.tool_parsers.abstract_tool_parser import ToolParserManager
ToolParserManager.import_tool_parser('$plugin')
print(ToolParserManager.get_tool_parser('$parser').__name__)"
fi

writable() {
    local folder
    for folder in "$HOME" /tmp /dev/shm "$(dirname "${NEMO_GYM_VENV_DIR:-/opt/gym_venvs}")"; do
        if ! { : > "$folder/.toolgain-probe.$$"; } 2> /dev/null; then
            echo "$folder cannot be written"
            return 1
        fi
        rm -f "$folder/.toolgain-probe.$$"
    done
    echo "home, /tmp, /dev/shm and the folder of Gym's environments can be written"
}
try "writable root" writable

gym_environments() {
    local folder=${NEMO_GYM_VENV_DIR:-/opt/gym_venvs} count
    count=$(find "$folder" -maxdepth 3 -name pyvenv.cfg 2> /dev/null | wc -l)
    echo "$count in $folder"
    [ "$count" -gt 0 ]
}
try "Gym's environments" gym_environments

index() {
    printf 'pip\n' | timeout 60 uv pip compile --quiet --no-cache - && echo "answers"
}
try "package index" index
