#!/bin/sh
# A Postfix of its own, on loopback alone, that keeps its mail.
# usage: postfix.sh start FOLDER STARTTLS IMPLICIT OPEN TLS
#        postfix.sh stop FOLDER
#        postfix.sh again FOLDER
# STARTTLS, IMPLICIT and OPEN are ports of 127.0.0.1; the first listens at 127.0.0.2 too, for which its certificate is
# not good. The first two want a login, OPEN offers no TLS and wants none. TLS is a folder with server.pem and
# server.key. For root, on Debian.
#
# Mail to anybody at example.test lands in FOLDER/mail/box/new, a file each. FOLDER/recipients may name recipients and
# what they are refused with, as in "full@example.test 552 5.2.2 mailbox full": it is read for every connection.
# The login is snapkeep@snapkeep.test, its password in FOLDER/password. Its entry stays in /etc/sasldb2: Postfix finds
# no other file.
set -eu

command=$1
folder=$2
conf=$folder/conf

# Some postfix commands look for others of their own.
PATH=$PATH:/usr/sbin:/sbin
export PATH

case $command in
stop)
    postfix -c "$conf" stop
    exit
    ;;
again)
    postfix -c "$conf" start
    exit
    ;;
esac

starttls=$3 implicit=$4 open=$5 tls=$6
user=snapkeep realm=snapkeep.test

chmod 755 "$folder"
mkdir -p "$conf" "$folder/queue" "$folder/data" "$folder/mail/box/new" "$folder/mail/box/cur" "$folder/mail/box/tmp"
chown postfix "$folder/data"
chown -R nobody:nogroup "$folder/mail"
touch "$folder/recipients"
(umask 077 && printf '%s\n' 'canary-Zq8+x~pass' >"$folder/password")
# Postfix reads the key as root, and refuses one that others may read.
install -m 644 "$tls/server.pem" "$conf/server.pem"
install -m 600 "$tls/server.key" "$conf/server.key"

# One writes, the others find it written.
(
    flock 9
    if ! sasldblistusers2 2>/dev/null | grep -q "^$user@$realm:"; then
        tr -d '\n' <"$folder/password" | saslpasswd2 -c -p -u "$realm" "$user"
    fi
    chown root:postfix /etc/sasldb2
    chmod 640 /etc/sasldb2
) 9>/tmp/snapkeep-sasldb.lock

system=$(postconf -dh config_directory)
for file in postfix-files dynamicmaps.cf post-install; do
    [ ! -e "$system/$file" ] || cp "$system/$file" "$conf/"
done

cat >"$conf/main.cf" <<END
compatibility_level = 3.6
queue_directory = $folder/queue
data_directory = $folder/data
daemon_directory = $(postconf -dh daemon_directory)
command_directory = $(postconf -dh command_directory)
maillog_file = $folder/log
maillog_file_prefixes = $folder
myhostname = mail.example.test
mydestination =
inet_interfaces = loopback-only
inet_protocols = ipv4
virtual_mailbox_domains = example.test
virtual_mailbox_maps = static:box/
virtual_mailbox_base = $folder/mail
virtual_uid_maps = static:65534
virtual_gid_maps = static:65534
smtpd_tls_cert_file = $conf/server.pem
smtpd_tls_key_file = $conf/server.key
smtpd_tls_security_level = may
smtpd_tls_auth_only = yes
smtpd_sasl_auth_enable = yes
smtpd_sasl_local_domain = $realm
smtpd_relay_restrictions = permit_sasl_authenticated, reject
smtpd_recipient_restrictions = check_recipient_access texthash:$folder/recipients
# The next connection is served by a process that has read the file of recipients again.
max_use = 1
END

cat >"$conf/master.cf" <<END
127.0.0.1:$starttls inet n - n - - smtpd
127.0.0.2:$starttls inet n - n - - smtpd
127.0.0.1:$implicit inet n - n - - smtpd -o smtpd_tls_wrappermode=yes
127.0.0.1:$open inet n - n - - smtpd
  -o smtpd_tls_security_level=none
  -o smtpd_sasl_auth_enable=no
  -o smtpd_relay_restrictions=permit_mynetworks,reject
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
proxywrite unix - - n - 1 proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
showq unix n - n - - showq
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
local unix - n n - - local
virtual unix - n n - - virtual
lmtp unix - - n - - lmtp
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
END

# It answers once its master listens. What it says goes to its log.
postfix -c "$conf" start
