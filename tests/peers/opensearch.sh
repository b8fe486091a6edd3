#!/bin/sh
# Asks a daemon with OpenSearch's own clients, of PyPI and npm, and lets schemathesis (PyPI) ask whatever its OpenAPI
# description allows.
# usage: opensearch.sh SCRATCH URL TOKEN_FILE
# SCRATCH is a directory that survives runs; what the peers need is installed there. What cannot be had is said on
# stderr and in the file that SNAPKEEP_SKIPS names, and passed over.
set -eu

scratch=$1
url=$2
token=$3
here=$(cd "$(dirname "$0")" && pwd)
py_version=3.2.0
js_version=3.9.0
schemathesis_version=4.32.5

missing() {
    echo "NOT TESTED: $1" >&2
    [ -z "${SNAPKEEP_SKIPS:-}" ] || echo "$1" >>"$SNAPKEEP_SKIPS"
}

# venv NAME PACKAGE: makes a virtual environment of its own for a package and sets `venv`.
venv() {
    venv=$scratch/$1
    [ -e "$venv/whole" ] && return 0
    rm -rf "$venv"
    if { python3 -m venv "$venv" && "$venv/bin/python" -m pip install --quiet --disable-pip-version-check \
        --timeout 20 --retries 1 "$2"; } >"$scratch/$1.log" 2>&1; then
        touch "$venv/whole"
    else
        echo "$2 cannot be installed: $(tail -n 1 "$scratch/$1.log")" >&2
        rm -rf "$venv"
        return 1
    fi
}

if venv "opensearch-py-$py_version" "opensearch-py==$py_version"; then
    "$venv/bin/python" "$here/opensearch.py" "$url" "$token" >&2
else
    missing "the API with opensearch-py, because it cannot be installed"
fi

modules=$scratch/opensearch-js-$js_version
if [ ! -e "$modules/whole" ] && command -v npm >/dev/null 2>&1; then
    rm -rf "$modules"
    mkdir -p "$modules"
    echo '{"private":true}' >"$modules/package.json"
    (cd "$modules" && npm install --silent --no-audit --no-fund "@opensearch-project/opensearch@$js_version") \
        >"$scratch/opensearch-js.log" 2>&1 && touch "$modules/whole"
fi
if [ -e "$modules/whole" ]; then
    PEERS_MODULES=$modules node "$here/opensearch.mjs" "$url" "$token" >&2
else
    missing "the API with OpenSearch's client of npm, because it cannot be installed"
fi

if venv "schemathesis-$schemathesis_version" "schemathesis==$schemathesis_version"; then
    # The token stays out of the process list.
    config=$scratch/schemathesis-$$.toml
    answers=$scratch/schemathesis-$$.har
    trap 'rm -f "$config" "$answers"' EXIT
    printf 'headers = { Authorization = "Bearer %s" }\n' "$(cat "$token")" >"$config"
    # It remembers what it did in the directory where it is.
    cd "$scratch"
    "$venv/bin/schemathesis" --config-file "$config" run "$url/v1/openapi.json" --url "$url" \
        --checks not_a_server_error --max-examples "${SNAPKEEP_SCHEMA_EXAMPLES:-15}" --phases examples,coverage,fuzzing \
        --workers 2 --no-color --seed 20261121 --report har --report-har-path "$answers" \
        >"$scratch/schemathesis.log" 2>&1 ||
        { tail -n 60 "$scratch/schemathesis.log" >&2; exit 1; }
    tail -n 3 "$scratch/schemathesis.log" >&2
    # Refused everywhere, it would have met no error of the server's either.
    carried=$(grep -cE '"status": *2[0-9][0-9]' "$answers") || true
    echo "schemathesis: $carried requests were carried out" >&2
    [ "$carried" -ge 20 ] || { echo "too few requests were carried out" >&2; exit 1; }
else
    missing "the API with schemathesis, because it cannot be installed"
fi
