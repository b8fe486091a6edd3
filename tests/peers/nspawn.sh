#!/usr/bin/env bash
# The package in a Debian 12 of its own: installed, fed a policy, broken, killed, frozen, without a disk, upgraded,
# purged. For root on a machine with systemd-nspawn, debootstrap and python3; says loudly what is not tested where that
# cannot run. Ends with 1 at the first thing that is not as it should be, and shows what the service said.
# usage: nspawn.sh PACKAGE.deb [TREE]
#        nspawn.sh --tree TREE
# TREE is a Debian 12 as debootstrap leaves it, and made where it is not there, which is all that `--tree` does; without
# it there is one for this run alone. What runs is a copy, in a network that has no other machine.
set -euo pipefail

[ "$1" = --tree ] && package='' || package=$(realpath "$1")
work=$(mktemp -d)
tree=${2-$work/tree}
root=$work/root
nspawn='' leader='' debootstrap='' checks=0

# Long enough for a loaded machine, and an end.
install_max=120 boot_max=60 command_max=60 settle_max=60

skip() {
    echo "NOT TESTED: the installed package, because $1" >&2
    [ -z "${SNAPKEEP_SKIPS-}" ] || echo "the installed package, because $1" >>"$SNAPKEEP_SKIPS"
    exit 0
}

seconds() { date +%s.%N; }
since() { python3 -c "print(f'{$(seconds) - $1:.1f}')"; }

ok() {
    checks=$((checks + 1))
    printf 'ok %3d s: %s\n' "$SECONDS" "$*"
}

fail() {
    trap - ERR
    printf 'FAILED: %s\n' "$*" >&2
    if [ -n "$leader" ]; then
        inside systemctl --no-pager --full status snapkeep >&2 || true
        inside journalctl --no-pager -u snapkeep -n 60 >&2 || true
    fi
    exit 1
}

# Runs a command in the container, as a service of its manager: `nsenter` alone would keep rights over this machine.
inside() {
    timeout "$command_max" nsenter -t "$leader" -a systemd-run -q --wait -P --collect -- "$@" </dev/null
}

# Tries a command until it succeeds, so many seconds long.
within() {
    local end=$((SECONDS + $1))
    shift
    until "$@" >/dev/null 2>&1; do
        [ "$SECONDS" -lt "$end" ] || return 1
        sleep 0.5
    done
}

# Prints what a Python expression says about `d`, the JSON on standard input.
json() { python3 -c "import json, sys; d = json.load(sys.stdin); print($1)"; }
# The same of the daemon's answer to a command.
ask() {
    local expression=$1
    shift
    inside snapkeep --json "$@" | json "$expression"
}
is() { [ "$(ask "$@")" = True ]; }

property() { inside systemctl show snapkeep --property "$1" --value; }
is_up() { [ "$(property ActiveState)" = active ]; }
# Not through a pipe: who reads it leaves at the first line that fits, and the writer fails of that.
said() {
    inside journalctl --no-pager -u snapkeep -o cat --since "@$1" >"$work/said"
    grep -q -- "$2" "$work/said"
}
put() { inside sh -c "cat > '$1' <<'END'
$2
END"; }

end_container() {
    [ -n "$nspawn" ] || return 0
    [ -z "$leader" ] ||
        timeout 10 nsenter -t "$leader" -a systemd-run -q systemctl poweroff </dev/null >/dev/null 2>&1 || true
    local end=$((SECONDS + 30))
    while kill -0 "$nspawn" 2>/dev/null && [ "$SECONDS" -lt "$end" ]; do sleep 0.2; done
    if kill -0 "$nspawn" 2>/dev/null; then
        # The end of its first process is the end of all in it.
        [ -z "$leader" ] || kill -9 "$leader" 2>/dev/null || true
        kill "$nspawn" 2>/dev/null || true
    fi
    wait "$nspawn" 2>/dev/null || true
    nspawn='' leader=''
}
clean_up() {
    [ -z "$debootstrap" ] || kill "$debootstrap" 2>/dev/null && wait "$debootstrap" 2>/dev/null || true
    end_container
    rm -rf --one-file-system "$work"
}
trap clean_up EXIT
trap 'exit 143' TERM INT
trap 'fail "line $LINENO: $BASH_COMMAND"' ERR

# ---- a Debian 12, booted

[ "$(id -u)" = 0 ] || skip 'this is not root'
for program in debootstrap systemd-nspawn nsenter python3 curl dpkg-deb pgrep; do
    command -v "$program" >/dev/null || skip "$program is not installed"
done
if [ ! -e "$tree/etc/debian_version" ]; then
    mirror=$(apt-get indextargets --format '$(REPO_URI)' 2>/dev/null | grep '/debian/$' | head -1) || true
    [ -n "$mirror" ] || skip 'apt names no mirror of Debian'
    include=systemd,systemd-sysv,udev,dbus,iproute2,procps
    rm -rf --one-file-system "$tree.begun"
    # In the background, so that a signal ends it at once.
    timeout 400 debootstrap --variant=minbase --include="$include" bookworm "$tree.begun" "$mirror" \
        >"$work/debootstrap.log" 2>&1 &
    debootstrap=$!
    wait "$debootstrap" || {
        tail -3 "$work/debootstrap.log" >&2
        rm -rf --one-file-system "$tree.begun"
        # Whoever only wants a tree asks for it again, and says then what is not tested.
        [ -n "$package" ] || exit 0
        skip 'debootstrap failed'
    }
    debootstrap=''
    mv "$tree.begun" "$tree"
    ok 'debootstrap made a Debian 12'
fi
[ -n "$package" ] || exit 0
cp -a --reflink=auto "$tree" "$root"
rm -f "$root/etc/machine-id"
cp "$package" "$root/root/snapkeep.deb"

# A later version, of which a file of settings has another text too.
dpkg-deb -R "$package" "$work/later"
version=$(sed -n 's/^Version: //p' "$work/later/DEBIAN/control")
sed -i "s/^Version: .*/Version: $version+later/" "$work/later/DEBIAN/control"
echo '# A later version says something else here.' >>"$work/later/etc/snapkeep/snapkeep.toml"
dpkg-deb -Zgzip -z1 --root-owner-group -b "$work/later" "$root/root/later.deb" >/dev/null

began=$(seconds)
systemd-nspawn -q -D "$root" --boot --register=no --keep-unit --private-network --console=read-only \
    >"$work/console" 2>&1 </dev/null &
nspawn=$!
has_booted() {
    leader=$(pgrep -P "$nspawn") || return 1
    case $(inside systemctl is-system-running) in running | degraded) ;; *) return 1 ;; esac
}
if ! within "$boot_max" has_booted; then
    tail -5 "$work/console" >&2
    skip 'systemd-nspawn does not boot here'
fi
leader=$(pgrep -P "$nspawn")
ok "it booted in $(since "$began") s"

# ---- installed: the service is up

command_max=$install_max
apt() { inside env DEBIAN_FRONTEND=noninteractive apt-get -y -o Dpkg::Use-Pty=0 "$@"; }
began=$(seconds)
apt install /root/snapkeep.deb >"$work/apt" 2>&1 || { cat "$work/apt" >&2; fail 'apt install'; }
command_max=60
within "$settle_max" is_up || fail 'the service is not up after installation'
ok "installed and up in $(since "$began") s"
[ "$(inside systemctl is-enabled snapkeep)" = enabled ] || fail 'the service is not enabled'
pid=$(property MainPID)
[ "$(inside ps -o user= -p "$pid")" = snapkeep ] || fail 'the service does not run as the user snapkeep'
[ "$(inside stat -c '%U:%G %a' /var/lib/snapkeep)" = 'snapkeep:snapkeep 700' ] ||
    fail 'the state directory is not its own'
inside snapkeep check >"$work/check" || fail "check after installation: $(cat "$work/check")"
is 'd["policies"] == [] and d["daemon"]["problems"] == []' explain || fail 'something is wrong after installation'
ok 'enabled, with a user and a directory of its own, and nothing to complain of'

# ---- one policy file: a snapshot within its minute, which passes while other things are tried

inside sh -c 'mkdir -p /srv/data/deep && seq 1 20000 >/srv/data/numbers && echo "of its own" >/srv/data/deep/file &&
    ln -s deep/file /srv/data/link'
minute='[creation.schedule.cron]
expression = "* * * * *"
[snapshot_config]
repository = "local"
paths = ["/srv/data"]'
written=$(date +%s%3N)
put /etc/snapkeep/policies.d/minute.toml "$minute"
has_snapshots() { is "len([s for s in d['policies'][0]['snapshots'] if s['status'] == 'good']) >= $2" snapshots "$1"; }

# ---- a policy every few seconds from here on: there is more to see

tick='[creation.schedule.interval]
every = "8s"
[deletion.condition]
max_count = 4
min_count = 2
[snapshot_config]
repository = "local"
paths = ["/srv/data/deep"]'
put /etc/snapkeep/policies.d/tick.toml "$tick"
inside systemctl reload snapkeep
is_up || fail 'a reload ended the service'
within "$settle_max" has_snapshots tick 1 || fail 'no snapshot after a reload'
ok 'a reload takes up another policy'

# Settled runs of a policy, oldest first, as [trigger, outcome] of creations.
runs_of='sorted([r["trigger_time"], r["outcome"]] for r in d["runs"] if r["workflow"] == "creation" and r["outcome"])'
newest() { ask "max([t for t, o in $runs_of if o == 'succeeded'] or [0])" history "$1"; }
has_newer() { [ "$(newest "$1")" -gt "$2" ]; }

# ---- a broken file: the old one stays in force, across a restart too

put /etc/snapkeep/policies.d/tick.toml "$tick
colour = "
code=0
inside snapkeep check >"$work/check" 2>&1 || code=$?
[ "$code" = 2 ] && grep -q '/etc/snapkeep/policies.d/tick.toml:9:' "$work/check" ||
    fail "check ended with $code and said: $(cat "$work/check")"
is_told() { inside snapkeep explain tick >"$work/explained" && grep -q 'tick.toml:9:' "$work/explained"; }
within "$settle_max" is_told || fail 'explain does not name the broken file'
code=0
inside snapkeep health >"$work/health" 2>&1 || code=$?
{ [ "$code" = 1 ] || [ "$code" = 2 ]; } && grep -q tick.toml "$work/health" ||
    fail "health ended with $code beside a broken file and said: $(cat "$work/health")"
then=$(newest tick)
within "$settle_max" has_newer tick "$then" || fail 'a policy whose file broke makes no more snapshots'
inside systemctl restart snapkeep
within "$settle_max" is_up || fail 'the service does not start beside a broken file'
then=$(newest tick)
within "$settle_max" has_newer tick "$then" || fail 'a policy whose file broke is not in force after a restart'
put /etc/snapkeep/policies.d/tick.toml "$tick"
inside snapkeep check >/dev/null || fail 'check complains of the file that was put right'
ok 'a broken file is named by check, explain and health; the last good one stays in force, across a restart too'

# ---- made through the API: root reads it too

api='"schedule": {"cron": {"expression": "0 3 * * *", "timezone": "UTC"}}'
api="{\"creation\": {$api}, \"snapshot_config\": {\"repository\": \"local\", \"paths\": [\"/srv/data\"]}}"
curl -sS --fail-with-body --max-time 20 --unix-socket "/proc/$leader/root/run/snapkeep/api.sock" -X POST \
    -H 'content-type: application/json' -d "$api" http://snapkeep/_plugins/_sm/policies/api >"$work/api" ||
    fail "the API takes no policy: $(cat "$work/api")"
inside test -e /var/lib/snapkeep/policies.d/api.toml || fail 'the API left no file'
inside snapkeep check >"$work/check" 2>&1 || fail "check by root refuses what the API wrote: $(cat "$work/check")"
ok 'a policy made through the API is read by root too'

# ---- what came of the one policy file

within 75 has_snapshots minute 1 || fail 'no snapshot within its minute'
first='[r for r in d["runs"] if r["workflow"] == "creation"][-1]'
took=$(ask "round(($first['end_time'] - $first['trigger_time']) / 1000, 1)" history minute)
waited=$(ask "round(($first['end_time'] - $written) / 1000, 1)" history minute)
python3 -c "import sys; sys.exit($took >= 60 or $waited >= 120)" ||
    fail "the first snapshot was there $waited s after its policy, $took s after its trigger"
ok "one policy file, and a snapshot $waited s after it was written, $took s after its trigger"

name=$(ask 'd["policies"][0]["snapshots"][0]["name"]' snapshots minute)
inside snapkeep restore "$name" --to /root/back >/dev/null
inside diff -r --no-dereference /srv/data /root/back/srv/data || fail 'what was restored is not what was kept'
inside snapkeep explain minute >"$work/explained"
grep -q minute "$work/explained"
inside snapkeep health minute >"$work/health" || fail "health says of a fresh policy: $(cat "$work/health")"
inside snapkeep policy stop minute >/dev/null
inside journalctl POLICY=minute WORKFLOW=creation OUTCOME=succeeded "SNAPSHOT=$name" -o json -n 1 >"$work/fields"
python3 -c 'import json, sys; d = json.load(sys.stdin); sys.exit(not (d["RUN"] and "minute" in d["MESSAGE"]))' \
    <"$work/fields" || fail "the journal has not the fields of a settled run: $(cat "$work/fields")"
ok 'it is restored identical, explained, and health says that all is well'

# ---- what root does leaves nothing to the service that it cannot use

is_its_own() {
    local others
    others=$(inside find /var/lib/snapkeep ! -user snapkeep) || return 1
    [ -z "$others" ]
}
inside sh -c 'umask 077 && echo "a long sentence that nobody guesses" >/root/second.key'
# A repository that is at work says so at once, and there is a run every few seconds.
within "$settle_max" inside snapkeep key add local --from /root/second.key || fail 'no second key'
within "$settle_max" inside snapkeep key rotate local || fail 'the key is not rotated'
within "$settle_max" inside snapkeep key sheet local --to /root/sheet || fail 'no recovery sheet'
inside snapkeep journal backup >/dev/null
then=$(newest tick)
within "$settle_max" has_newer tick "$then" || fail 'with another key it does not go on'
inside systemctl stop snapkeep
[ "$(property Result)" = success ] || fail 'it did not stop cleanly'
code=0
inside snapkeep health tick >"$work/health" 2>&1 || code=$?
{ [ "$code" = 1 ] || [ "$code" = 2 ]; } && grep -q "'tick'=" "$work/health" || fail "health without a daemon: $code $(cat "$work/health")"
code=0
inside snapkeep health >"$work/health" 2>&1 || code=$?
! grep -q policies.d "$work/health" || fail "health distrusts what the API wrote: $code $(cat "$work/health")"
inside snapkeep journal check >/dev/null
copy=$(inside sh -c 'ls /var/lib/snapkeep/backups/journal-*.db | tail -1')
inside snapkeep journal restore "$copy" >"$work/restored" 2>&1 ||
    fail "the journal is not restored: $(cat "$work/restored")"
is_its_own || fail "root left: $(inside find /var/lib/snapkeep ! -user snapkeep)"
inside systemctl start snapkeep
then=$(newest tick)
within "$settle_max" has_newer tick "$then" || fail 'after what root did it does not go on'
ok 'root adds and rotates keys and restores the journal, and the service goes on'

# ---- killed: it comes again, and no trigger makes two

killed=$(date +%s)
pid=$(property MainPID)
then=$(newest tick)
inside kill -9 "$pid"
has_another() { local now; now=$(property MainPID) && [ "$now" != 0 ] && [ "$now" != "$1" ] && is_up; }
within "$settle_max" has_another "$pid" || fail 'killed, it does not come again'
within "$settle_max" has_newer tick "$then" || fail 'killed, it does not go on'
creations='[(r["policy"], r["trigger_time"]) for r in d["runs"] if r["workflow"] == "creation"]'
is_once="len(set($creations)) == len($creations)"
is "$is_once" history tick || fail 'a trigger ran twice'
names='[s["name"] for s in d["policies"][0]["snapshots"]]'
is "len(set($names)) == len($names)" snapshots tick || fail 'a snapshot is there twice'
ok "killed, it came again and went on after $(($(date +%s) - killed)) s; no trigger ran twice"

# ---- frozen: the watchdog acts, and no trigger is lost

inside mkdir -p /etc/systemd/system/snapkeep.service.d
put /etc/systemd/system/snapkeep.service.d/test.conf '[Service]
WatchdogSec=20s
TimeoutAbortSec=2s
RestartSec=1s'
inside systemctl daemon-reload
inside systemctl restart snapkeep
within "$settle_max" is_up || fail 'it does not start with a watchdog of 20 s'
put /etc/snapkeep/policies.d/slow.toml '[creation.schedule.interval]
every = "40s"
[snapshot_config]
repository = "local"
paths = ["/srv/data/deep"]'
# The watchdog acts ten to twenty seconds after the freeze, so the trigger passes meanwhile, and the next one does not.
trigger=0
is_near() {
    trigger=$(ask 'd["policies"][0]["creation"]["trigger"]["time"]' explain slow) || return 1
    local left=$((trigger - $(date +%s%3N)))
    [ "$left" -gt 4000 ] && [ "$left" -lt 9500 ]
}
pid=$(property MainPID)
frozen=0
# On a machine that is busy the trigger may come first; then the next one is waited for.
freeze() {
    is_near || return 1
    inside kill -STOP "$pid"
    frozen=$(date +%s)
    [ "$(date +%s%3N)" -lt "$((trigger - 300))" ] || { inside kill -CONT "$pid" && return 1; }
}
within 120 freeze || fail 'no trigger comes near'
within "$settle_max" has_another "$pid" || fail 'frozen, it is not started again'
woke=$(date +%s)
[ "$woke" -gt $((trigger / 1000)) ] || fail 'the trigger did not pass while it was frozen'
said "$frozen" 'Watchdog timeout' || fail 'no word of the watchdog'
its_runs="[r for r in d['runs'] if r['workflow'] == 'creation' and r['trigger_time'] == $trigger]"
is_made_up_for() { is "[r['outcome'] for r in $its_runs] == ['succeeded']" history slow; }
within "$settle_max" is_made_up_for ||
    fail "the trigger that passed meanwhile was lost: $(inside snapkeep history slow)"
is "$is_once" history tick,slow || fail 'a trigger ran twice after the watchdog'
inside rm /etc/snapkeep/policies.d/slow.toml
ok "frozen, the watchdog had it started again after $((woke - frozen)) s;" \
    "the trigger that passed meanwhile has its snapshot"

# ---- no room: it says so, and goes on when there is room

inside systemctl stop snapkeep
inside sh -c 'mkdir /root/aside && cp -a /var/lib/snapkeep/. /root/aside &&
    mount -t tmpfs -o size=64m,mode=0700,uid=snapkeep,gid=snapkeep none /var/lib/snapkeep &&
    cp -a /root/aside/. /var/lib/snapkeep'
inside systemctl start snapkeep
then=$(newest tick)
within "$settle_max" has_newer tick "$then" || fail 'it does not go on in a small state directory'
filled=$(date +%s)
inside sh -c 'cat /dev/zero >/var/lib/snapkeep/filler; true' 2>/dev/null
is_short() { is 'any("no new run begins" in r for r in d["daemon"]["restrictions"])' explain; }
within "$settle_max" is_short || fail 'explain does not say that there is no room'
said "$filled" 'no new run begins' || fail 'the log does not say that there is no room'
is_up || fail 'without room the service is not up'
inside rm /var/lib/snapkeep/filler
room=$(date +%s)
within 120 has_newer tick "$((room * 1000))" || fail 'with room again it does not go on'
is 'd["daemon"]["restrictions"] == []' explain || fail 'with room again it still speaks of none'
ok "without room it says so; it goes on $(($(date +%s) - room)) s after there was room again"
inside systemctl stop snapkeep
[ "$(property Result)" = success ] || fail 'it did not stop cleanly'
inside umount /var/lib/snapkeep
inside rm -r /root/aside /etc/systemd/system/snapkeep.service.d
inside systemctl daemon-reload
inside systemctl start snapkeep

# ---- upgraded: what is there stays, what was edited stays

within "$settle_max" is_up
inside sh -c 'echo "jobs_max = 8" >>/etc/snapkeep/snapkeep.toml'
snapshots=$(ask "sorted($names)" snapshots minute)
runs=$(ask 'len(d["runs"])' history minute)
installation=$(ask 'd["daemon"]["installation"]' explain)
pid=$(property MainPID)
began=$(seconds)
command_max=$install_max
apt install -o Dpkg::Options::=--force-confold /root/later.deb >"$work/apt" 2>&1 ||
    { cat "$work/apt" >&2; fail 'upgrade'; }
command_max=60
within "$settle_max" has_another "$pid" || fail 'upgraded, it was not started again'
took=$(since "$began")
within "$settle_max" inside snapkeep explain
[ "$(ask "sorted($names)" snapshots minute)" = "$snapshots" ] || fail 'upgraded, other snapshots'
[ "$(ask 'len(d["runs"])' history minute)" = "$runs" ] || fail 'upgraded, another history'
[ "$(ask 'd["daemon"]["installation"]' explain)" = "$installation" ] || fail 'upgraded, another installation'
inside grep -qx 'jobs_max = 8' /etc/snapkeep/snapkeep.toml || fail 'upgraded, an edit of the settings is gone'
inside grep -q 'A later version' /etc/snapkeep/snapkeep.toml.dpkg-dist || fail 'the later settings are nowhere'
then=$(newest tick)
within "$settle_max" has_newer tick "$then" || fail 'upgraded, it does not go on'
ok "upgraded in $took s: snapshots, history and edits stayed, and it goes on"

# ---- removed, purged: snapshots and keys stay

command_max=$install_max
apt remove snapkeep >"$work/apt" 2>&1 || { cat "$work/apt" >&2; fail 'remove'; }
inside test ! -e /usr/bin/snapkeep -a -e /var/lib/snapkeep/journal.db -a -e /etc/snapkeep/snapkeep.toml ||
    fail 'removed, something is not as it should be'
apt purge snapkeep >"$work/apt" 2>&1 || { cat "$work/apt" >&2; fail 'purge'; }
grep -q '/var/lib/snapkeep stays' "$work/apt" || fail "purge does not say what stays: $(cat "$work/apt")"
inside test -e /var/lib/snapkeep/repository.key -a -e /var/lib/snapkeep/repository/config \
    -a ! -e /var/lib/snapkeep/journal.db -a ! -e /var/lib/snapkeep/backups -a ! -e /etc/snapkeep/snapkeep.toml \
    -a -e /etc/snapkeep/policies.d/minute.toml || fail "purged, it left $(inside ls -A /var/lib/snapkeep /etc/snapkeep)"
ok 'purged, the journal and the settings are gone; snapshots, keys and policies of people stay'

apt install /root/snapkeep.deb >"$work/apt" 2>&1 || { cat "$work/apt" >&2; fail 'install again'; }
command_max=60
within "$settle_max" is_up || fail 'installed again, it is not up'
is "'$name' in [s['name'] for s in d['snapshots']]" snapshots --repository local ||
    fail 'installed again, the snapshots are not there'
ok 'installed again, the snapshots are there'

# ---- stopped

inside systemctl stop snapkeep
[ "$(property Result)" = success ] || fail 'it did not stop cleanly'
end_container
echo "the installed package: $checks checks in $SECONDS s"
