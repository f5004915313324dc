#!/usr/bin/env bash
# Check lock files for known vulnerabilities with pip-audit; exit code 1 where there are any, and where
# the service of advisories gives no answer.
#
#   tools/audit.sh [OPTION OF PIP-AUDIT ...]
set -euo pipefail
if ! command -v uvx > /dev/null; then
    echo "audit: nothing was checked, since uvx is not in PATH; install uv (pip install uv)." >&2
    exit 1
fi
for lock in workflow/envs/*.lock; do
    if said=$(uvx --quiet pip-audit --strict --disable-pip --progress-spinner off "$@" \
        --requirement "$lock" 2>&1); then
        echo "$lock: no known vulnerability"
        continue
    fi
    if grep -q -e Traceback -e "could not be audited" -e "Failed to" <<< "$said"; then
        echo "audit: $lock was not checked, since the advisories cannot be asked (${said##*$'\n'})." \
            'Name another service: make audit AUDIT="--vulnerability-service osv --osv-url URL".' >&2
    else
        printf '%s:\n%s\n' "$lock" "$said"
    fi
    exit 1
done
