#!/bin/sh
# A complete Snapkeep driver in plain shell: it keeps one tar archive for each snapshot in a directory.
#
#   repositories.d/archives.toml        driver = "exec"
#                                       command = ["/usr/local/lib/snapkeep/tar-driver.sh"]
#                                       abilities = ["restore", "verify", "maintain", "label"]
#                                       path = "/srv/archives"
#   a policy's [snapshot_config]        repository = "archives"
#                                       directory = "/srv/wiki"
#
# The protocol it speaks is docs/driver-protocol.md; that it does is shown by
#
#   snapkeep driver test --settings '{"path":"{repository}"}' --snapshot-config '{"directory":"{source}"}' \
#     -- docs/examples/tar-driver.sh
#
# It needs sh, sed, tar, flock, mkdir, mv, rm, cat, cksum, find, grep, wc and date. Paths with quotes, backslashes or
# control characters are not supported; they are refused.
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
exec 3<&-
trap 'kill "$watcher" 2>/dev/null || :' EXIT

# The first fields stand in a fixed order, and quotes inside of values are escaped, so these cannot be
# taken in by anything a value holds. A JSON string is: quote, (no quote or backslash, or an escape)*, quote.
text='"[^"\\]*\(\\.[^"\\]*\)*"'
field() { say "$request" | sed -n "s/$1/\\$2/p"; }
verb=$(field '^{"snapkeep":1,"verb":"\([a-z]*\)".*' 1)
name=$(field '^{"snapkeep":1,"verb":"[a-z]*","name":"\([a-z0-9._:-]*\)".*' 1)
id=$(field "^{\"snapkeep\":1,\"verb\":\"[a-z]*\",\"name\":$text,\"id\":\"\\([a-z0-9][a-z0-9._:-]*\\)\".*" 2)
labels=$(field "^[^{]*{[^{]*\"labels\":\\({\\($text:$text,\\{0,1\\}\\)*}\\).*" 1)
# These are the repository's, the policy's and the restore's.
path=$(field '.*"repository":{.*"path":"\([^"\\]*\)".*' 1)
directory=$(field '.*"config":{.*"directory":"\([^"\\]*\)".*' 1)
restore="^{\"snapkeep\":1,\"verb\":\"restore\",\"name\":$text,\"id\":$text,\"time_max_ms\":[0-9]*"
to=$(field "$restore,\"to\":\"\\([^\"\\\\]*\\)\".*" 3)
include=$(field "$restore,\"to\":$text,\"include\":\\[\\([^]\\\\]*\\)\\],\"repository\":.*" 4)
percent=$(field '.*,"read_data_percent":\([0-9]*\)}$' 1)
keep_ms=$(field '.*,"keep_ms":\([0-9]*\)}$' 1)
removed=$(field '.*,"remove_labels":\[\(.*\)\]}$' 1)
all=$(field "$restore,\"to\":$text,\"include\":\\[\\],\"repository\":.*" 0)

[ -n "$verb" ] || fail permanent 'the request is not understood; this driver speaks version 1'
if [ "$verb" = abilities ]; then
  say '{"result":{"cancel":false,"restore":true,"verify":true,"maintain":true,"label":true,"effects_max":1}}'
  exit 0
fi
[ -n "$path" ] || fail permanent 'the repository setting path is missing'

# A snapshot is NAME.tar beside NAME.json, which holds its labels, NAME.taken, its time, and NAME.sum, the
# checksum of the archive. It exists when the .json does: that is written last, whole, by a rename.
snapshot() {
  size=$(wc -c <"$path/$1.tar") && taken=$(cat "$path/$1.taken") && stamp=$(cat "$path/$1.json") || return 1
  printf '{"name":"%s","id":"%s","taken_at_ms":%s,"status":"good","labels":%s,"size_bytes":%s}' \
    "$1" "$1" "$taken" "$stamp" "$((size))"
}

# One creation or deletion at a time. The kernel lets go of the lock when we and all we started have
# ended, however that came. The file holds the name that is being made.
lock() {
  mkdir -p "$path"
  exec 9>>"$path/.lock"
  flock -n 9 || fail busy 'another creation or deletion is at work in this repository'
  say "$1" >"$path/.lock"
}

# Takes an object of texts apart, one pair a line: texts have their line feeds escaped.
pairs() {
  say "$1" | sed "s/^{//; s/}\$//; s/\($text:$text\),\{0,1\}/\1\\
/g" | sed '/^$/d'
}

case $verb in
create)
  [ -n "$name" ] || fail permanent 'the name is not understood'
  [ -n "$directory" ] || fail permanent 'the key directory is missing in snapshot_config'
  lock "$name"
  if ! [ -e "$path/$name.json" ]; then
    [ -d "$directory" ] || fail permanent 'the directory to keep does not exist'
    say '{"progress":{"doing":"packing"}}'
    say "$(date +%s)000" >"$path/$name.taken"
    tar -C "$directory" -cf "$path/$name.tar" . || fail transient 'tar failed; its own words are in the log'
    cksum <"$path/$name.tar" >"$path/$name.sum"
    say "${labels:-{\}}" >"$path/$name.json.new"
    mv "$path/$name.json.new" "$path/$name.json"
  fi
  say "{\"result\":{\"snapshot\":$(snapshot "$name")}}"
  ;;
describe)
  [ -n "$name" ] || fail permanent 'the name is not understood'
  # First the lock, then the record: whoever let go of the lock in between has written its record.
  if [ -e "$path/.lock" ] && ! flock -n -s "$path/.lock" true && [ "$(cat "$path/.lock")" = "$name" ]; then
    say "{\"result\":{\"snapshot\":{\"name\":\"$name\",\"id\":\"$name\",\"status\":\"running\"}}}"
  elif [ -e "$path/$name.json" ]; then
    found=$(snapshot "$name") || fail transient 'the snapshot could not be read'
    say "{\"result\":{\"snapshot\":$found}}"
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
  lock ''
  # The record goes first: what is left of a deletion that was cut off is no snapshot.
  rm -f "$path/$id.json"
  rm -f "$path/$id.tar" "$path/$id.taken" "$path/$id.sum"
  say '{"result":{}}'
  ;;
restore)
  [ -n "$id" ] && [ -e "$path/$id.json" ] || fail permanent 'the snapshot is gone'
  [ -n "$to" ] || fail permanent 'the directory to restore to is not understood'
  [ -n "$include$all" ] || fail permanent 'the paths to restore are not understood'
  mkdir -p "$to"
  [ -z "$(ls -A "$to")" ] || fail permanent 'the directory to restore to is not empty'
  # "a","b c" becomes the arguments ./a and ./b c: as the archive has them, and never an option.
  set -f
  IFS='
'
  set --
  for wanted in $(say "$include" | sed 's/^"//; s/"$//; s/","/\
/g'); do
    set -- "$@" "./${wanted#/}"
  done
  [ $# -gt 0 ] || set -- .
  tar -C "$to" -xpf "$path/$id.tar" "$@" || fail transient 'tar failed; its own words are in the log'
  files=$(find "$to" -type f | wc -l)
  bytes=$(find "$to" -type f -exec cat {} + | wc -c)
  say "{\"result\":{\"files\":$((files)),\"bytes\":$((bytes))}}"
  ;;
verify)
  [ -n "$id" ] && [ -e "$path/$id.json" ] || fail permanent 'the snapshot is gone'
  files=$(tar -tf "$path/$id.tar") || fail permanent "the archive $id.tar cannot be listed"
  bytes=0
  # An archive has one checksum: it is read whole or not at all.
  if [ "${percent:-0}" -gt 0 ]; then
    [ "$(cksum <"$path/$id.tar")" = "$(cat "$path/$id.sum")" ] ||
      fail permanent "the archive $id.tar is not what was written"
    bytes=$(wc -c <"$path/$id.tar")
  fi
  say "{\"result\":{\"files\":$(say "$files" | grep -c '[^/]$' || :),\"bytes_read\":$((bytes))}}"
  ;;
maintain)
  [ -d "$path" ] || { say '{"result":{}}'; exit 0; }
  lock ''
  # Nothing is needed that belongs to no record: what creations and deletions left that were cut off.
  marked=0 removed=0
  for file in "$path"/*.tar "$path"/*.taken "$path"/*.sum "$path"/*.json.new; do
    [ -e "$file" ] && [ ! -e "${file%.*}.json" ] || continue
    if [ -n "$(find "$file" -mmin "+$((${keep_ms:-0} / 60000))")" ]; then
      rm -f "$file"
      removed=$((removed + 1))
    else
      marked=$((marked + 1))
    fi
  done
  for file in "$path"/*.json; do
    [ -e "$file" ] || continue
    known=${file%.json}
    [ -e "$known.tar" ] && [ -e "$known.taken" ] && [ -e "$known.sum" ] ||
      fail permanent "snapshot ${known##*/} has lost a part of it"
  done
  say "{\"result\":{\"marked\":{\"count\":$marked,\"bytes\":0},\"removed\":{\"count\":$removed,\"bytes\":0}}}"
  ;;
label)
  [ -n "$id" ] && [ -n "$labels" ] || fail permanent 'this identity, or the labels, are not understood'
  lock ''
  [ -e "$path/$id.json" ] || fail permanent 'the snapshot is gone'
  # What was there and is neither set nor removed, then what is set; quotes inside of texts are escaped, so
  # that a key in its quotes is found where it is a key.
  kept=$(pairs "$(cat "$path/$id.json")" | while IFS= read -r pair; do
    key=$(say "$pair" | sed "s/^\($text\):.*/\1/")
    case ",${labels#?}" in *",$key:"*) continue ;; esac
    case ",$removed," in *",$key,"*) continue ;; esac
    printf '%s,' "$pair"
  done)
  new=$kept$(pairs "$labels" | tr '\n' ',')
  say "{${new%,}}" >"$path/$id.json.new"
  mv "$path/$id.json.new" "$path/$id.json"
  found=$(snapshot "$id") || fail transient 'the snapshot could not be read'
  say "{\"result\":{\"snapshot\":$found}}"
  ;;
*)
  fail permanent 'this driver does not know that verb'
  ;;
esac
