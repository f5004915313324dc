#!/bin/bash
# Pre-train the demo model on a machine with a GPU, within ten minutes, and pack up the result.
#
#     tools/pretrain_demo_model.sh OUT [CHANGES OF THE RECIPE, KEY=VALUE]
#
# Needs a Python with torch and transformers ($PYTHON, python3) and nothing but this repository.
# OUT receives model.tar.gz (the model folder and the curve), pretrain.log, and state.part-*: the
# state to resume from, `cat OUT/state.part-* | tar xz -C WORK`. Every file is below 16 MiB.
# $DEVICE is cuda or cpu, $SECONDS_LIMIT the wall time of the pre-training, $WORKERS the number of
# processes that make the text. The time alone is the limit unless a smaller budget is given (tokens=N).
# A dry run on a CPU: DEVICE=cpu SECONDS_LIMIT=60 WORKERS=1.
set -euo pipefail
cd "$(dirname "$0")/.."

out=${1:?"usage: tools/pretrain_demo_model.sh OUT [KEY=VALUE ...]"}
shift
device=${DEVICE:-cuda}
limit=${SECONDS_LIMIT:-480}
workers=${WORKERS:-14}
work=${WORK:-$(mktemp -d)}
settings=(--set tokens=4000000000)
for change in "$@"; do
    settings+=(--set "$change")
done

mkdir -p "$out" "$work"
export PYTHONPATH=workflow PYTHONUNBUFFERED=1 HF_HUB_OFFLINE=1 TOKENIZERS_PARALLELISM=false
"${PYTHON:-python3}" -m toolgain.demo_model.pretrain \
    --out "$work/model" \
    --work "$work" \
    --device "$device" \
    --workers "$workers" \
    --seconds "$limit" \
    "${settings[@]}" 2>&1 | tee "$out/pretrain.log"

cp "$work/curve.jsonl" "$work/recipe.json" "$work/model/"
tar cz -C "$work" -f "$out/model.tar.gz" model
tar cz -C "$work" state.pt tokenizer recipe.json curve.jsonl | split -b 15M -d - "$out/state.part-"
