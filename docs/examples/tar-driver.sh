#!/bin/sh
# A complete Snapkeep driver in plain shell: it keeps one tar archive for each snapshot in a directory.
#
#   repositories.d/archives.toml        driver = "exec"
#                                       command = ["/usr/local/lib/snapkeep/tar-driver.sh"]
#                                       abilities = ["restore"]
#                                       path = "/srv/archives"
#   a policy's [snapshot_config]        repository = "archives"
#                                       directory = "/srv/wiki"
#
# The protocol it speaks is docs/driver-protocol.md. It needs sh, sed, tar, mkdir, mv, rm, wc and date.
set -eu
umask 077

say() { printf '%s\n' "$1"; }
fail() { say "{\"fault\":{\"kind\":\"$1\",\"message\":\"$2\"}}"; exit 0; }

say '{"snapkeep":1}'
IFS= read -r request || exit 1

# Standard input stays open while the daemon lives. When it ends, so do we and all we started.
exec 3<&0
{ cat <&3 >/dev/null; kill -TERM 0; } &
watcher=$!
trap 'kill "$watcher" 2>/dev/null || :' EXIT

# The first fields stand in a fixed order, and quotes inside of values are escaped, so these cannot be
# taken in by anything a value holds. A JSON string is: quote, (no quote or backslash, or an escape)*, quote.
text='"[^"\\]*\(\\.[^"\\]*\)*"'
verb=$(say "$request" | sed -n 's/^{"snapkeep":1,"verb":"\([a-z]*\)".*/\1/p')
name=$(say "$request" | sed -n 's/^{"snapkeep":1,"verb":"[a-z]*","name":"\([a-z0-9._:-]*\)".*/\1/p')
id=$(say "$request" | sed -n 's/^{"snapkeep":1,"verb":"[a-z]*","name":"[^"]*","id":"\([a-z0-9._:-]*\)".*/\1/p')
labels=$(say "$request" | sed -n "s/^[^{]*{[^{]*\"labels\":\({\($text:$text,\{0,1\}\)*}\).*/\1/p")
# These three are the repository's, the policy's and the restore's; values with escapes are not supported here.
path=$(say "$request" | sed -n 's/.*"repository":{.*"path":"\([^"\\]*\)".*/\1/p')
directory=$(say "$request" | sed -n 's/.*"config":{.*"directory":"\([^"\\]*\)".*/\1/p')
to=$(say "$request" | sed -n 's/^.*,"to":"\([^"\\]*\)",.*/\1/p')

[ -n "$verb" ] || fail permanent 'the request is not understood'
if [ "$verb" = abilities ]; then
  say '{"result":{"cancel":false,"restore":true,"effects_max":1}}'
  exit 0
fi
[ -n "$path" ] || fail permanent 'the repository setting path is missing'

# A snapshot is NAME.tar beside NAME.json, which holds its labels. It exists when the .json does: that
# is written last, whole, by a rename.
snapshot() {
  size=$(wc -c <"$path/$1.tar") && taken=$(cat "$path/$1.taken") && stamp=$(cat "$path/$1.json") || return 1
  printf '{"name":"%s","id":"%s","taken_at_ms":%s,"status":"good","labels":%s,"size_bytes":%s}' \
    "$1" "$1" "$taken" "$stamp" "$((size))"
}

# One creation or deletion at a time. The lock is a directory, because making one is atomic; it holds
# who has it, so that a lock whose owner died does not last.
lock() {
  mkdir -p "$path"
  until mkdir "$path/.lock" 2>/dev/null; do
    owner=$(cat "$path/.lock/pid" 2>/dev/null || :)
    if [ -z "$owner" ] || kill -0 "$owner" 2>/dev/null; then
      fail busy 'another creation or deletion is at work in this repository'
    fi
    rm -rf "$path/.lock"
  done
  say "$$" >"$path/.lock/pid"
  say "$name" >"$path/.lock/name"
  trap 'rm -rf "$path/.lock"; kill "$watcher" 2>/dev/null || :' EXIT
  trap 'exit 143' TERM
}

case $verb in
create)
  [ -n "$directory" ] || fail permanent 'the key directory is missing in snapshot_config'
  lock
  if ! [ -e "$path/$name.json" ]; then
    [ -d "$directory" ] || fail permanent 'the directory to keep does not exist'
    say '{"progress":{"doing":"packing"}}'
    say "$(date +%s)000" >"$path/$name.taken"
    tar -C "$directory" -cf "$path/$name.tar" . || fail transient 'tar failed; its own words are in the log'
    say "${labels:-{\}}" >"$path/$name.json.new"
    mv "$path/$name.json.new" "$path/$name.json"
  fi
  say "{\"result\":{\"snapshot\":$(snapshot "$name")}}"
  ;;
describe)
  if [ -e "$path/$name.json" ]; then
    say "{\"result\":{\"snapshot\":$(snapshot "$name")}}"
  elif [ "$(cat "$path/.lock/name" 2>/dev/null)" = "$name" ] && kill -0 "$(cat "$path/.lock/pid")" 2>/dev/null; then
    say "{\"result\":{\"snapshot\":{\"name\":\"$name\",\"id\":\"$name\",\"status\":\"running\"}}}"
  else
    say '{"result":{"snapshot":null}}'
  fi
  ;;
list)
  count=0
  for file in "$path"/*.json; do
    [ -e "$file" ] || continue
    known=${file##*/}
    line=$(snapshot "${known%.json}") || fail incomplete 'a snapshot could not be read'
    say "{\"snapshot\":$line}"
    count=$((count + 1))
  done
  say "{\"result\":{\"count\":$count}}"
  ;;
delete)
  [ -n "$id" ] || fail permanent 'this identity is not one of ours'
  lock
  # The record goes first: what is left of a deletion that was cut off is no snapshot.
  rm -f "$path/$id.json"
  rm -f "$path/$id.tar" "$path/$id.taken"
  say '{"result":{}}'
  ;;
restore)
  [ -e "$path/$id.json" ] || fail permanent 'the snapshot is gone'
  [ -n "$to" ] || fail permanent 'the directory to restore to is not understood'
  mkdir -p "$to"
  [ -z "$(ls -A "$to")" ] || fail permanent 'the directory to restore to is not empty'
  tar -C "$to" -xpf "$path/$id.tar" || fail transient 'tar failed; its own words are in the log'
  files=$(tar -tf "$path/$id.tar" | wc -l)
  bytes=$(wc -c <"$path/$id.tar")
  say "{\"result\":{\"files\":$((files)),\"bytes\":$((bytes))}}"
  ;;
*)
  fail permanent 'this driver does not know that verb'
  ;;
esac
