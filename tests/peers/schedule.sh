#!/bin/sh
# Compares our triggers with those of cronsim (PyPI) and `systemd-analyze calendar`.
# usage: schedule.sh SCRATCH CASES
# SCRATCH is a directory that survives runs (a virtual environment is made there), CASES the file of
# cases that the test wrote. What cannot be had is said on stderr and in the file that SNAPKEEP_SKIPS
# names, and passed over; exit 0.
set -eu

scratch=$1
cases=$2
here=$(dirname "$0")
cronsim_version=2.8

if ! python3 -c 'import sys, zoneinfo; zoneinfo.ZoneInfo("Europe/Berlin")' 2>/dev/null; then
    what='schedules against cronsim and systemd, because there is no python3 with zone data'
    echo "NOT TESTED: $what" >&2
    [ -z "${SNAPKEEP_SKIPS:-}" ] || echo "$what" >>"$SNAPKEEP_SKIPS"
    exit 0
fi

venv=$scratch/peers-venv-$cronsim_version
if ! "$venv/bin/python" -c 'import cronsim' 2>/dev/null; then
    rm -rf "$venv"
    if ! { python3 -m venv "$venv" \
        && "$venv/bin/python" -m pip install --quiet --disable-pip-version-check \
            --timeout 20 --retries 1 "cronsim==$cronsim_version"; } >"$scratch/peers-venv.log" 2>&1; then
        # What follows from it is said there.
        echo "cronsim cannot be installed: $(tail -n 1 "$scratch/peers-venv.log")" >&2
        rm -rf "$venv"
    fi
fi
python=$venv/bin/python
[ -x "$python" ] || python=python3

exec "$python" "$here/schedule.py" "$cases" >&2
