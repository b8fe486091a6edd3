#!/bin/sh
# Asks jsonschema (PyPI) whether the files that people write keep our JSON schemas.
# usage: schema.sh SCRATCH CASES
# SCRATCH is a directory that survives runs (a virtual environment is made there), CASES the file of
# cases that the test wrote. What cannot be had is said on stderr and in the file that SNAPKEEP_SKIPS
# names, and passed over; exit 0.
set -eu

scratch=$1
cases=$2
here=$(dirname "$0")
jsonschema_version=4.26.0

skip() {
    what="files against their JSON schemas, because $1"
    echo "NOT TESTED: $what" >&2
    [ -z "${SNAPKEEP_SKIPS:-}" ] || echo "$what" >>"$SNAPKEEP_SKIPS"
    exit 0
}

python3 -c 'import tomllib' 2>/dev/null || skip 'there is no python3 that reads TOML'

venv=$scratch/peers-venv-jsonschema-$jsonschema_version
if ! "$venv/bin/python" -c 'import jsonschema' 2>/dev/null; then
    rm -rf "$venv"
    if ! { python3 -m venv "$venv" \
        && "$venv/bin/python" -m pip install --quiet --disable-pip-version-check \
            --timeout 20 --retries 1 "jsonschema==$jsonschema_version"; } >"$scratch/peers-schema.log" 2>&1; then
        said=$(tail -n 1 "$scratch/peers-schema.log")
        rm -rf "$venv"
        skip "jsonschema cannot be installed: $said"
    fi
fi

exec "$venv/bin/python" "$here/schema.py" "$cases" >&2
