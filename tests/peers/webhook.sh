#!/bin/sh
# Runs Debian's `webhook` in the foreground, with two hooks that keep what they are told, each behind a secret of its
# own.
# usage: webhook.sh FOLDER PORT SECRET OTHER [CERTIFICATE KEY]
# What hook NAME is told goes to FOLDER/NAME.told: the notice's id, its event, and the whole of it.
set -eu

folder=$1
port=$2
secret=$3
other=$4

cat >"$folder/keep" <<'END'
#!/bin/sh
printf '%s\n' "$2" "$3" "$4" >"$1.told"
END
chmod 0755 "$folder/keep"

hook() {
    cat <<END
{
  "id": "$1",
  "execute-command": "$folder/keep",
  "command-working-directory": "$folder",
  "http-methods": ["POST"],
  "include-command-output-in-response": true,
  "include-command-output-in-response-on-error": true,
  "trigger-rule-mismatch-http-response-code": 403,
  "pass-arguments-to-command": [
    {"source": "string", "name": "$1"},
    {"source": "header", "name": "Webhook-Id"},
    {"source": "payload", "name": "event"},
    {"source": "entire-payload"}
  ],
  "trigger-rule": {
    "match": {
      "type": "payload-hmac-sha256",
      "secret": "$2",
      "parameter": {"source": "header", "name": "X-Hub-Signature-256"}
    }
  }
}
END
}
{ echo '['; hook one "$secret"; echo ','; hook other "$other"; echo ']'; } >"$folder/hooks.json"

if [ $# -gt 4 ]; then
    exec webhook -hooks "$folder/hooks.json" -ip 127.0.0.1 -port "$port" -verbose -secure -cert "$5" -key "$6"
fi
exec webhook -hooks "$folder/hooks.json" -ip 127.0.0.1 -port "$port" -verbose
