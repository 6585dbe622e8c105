#!/bin/sh
# Is Redis or Valkey usable inside its container? The contract of a check: README.md.
#
# Reads  REDIS_PASSWORD_FILE (a file with the default user's password) or REDIS_PASSWORD, REDIS_PORT (default 6379).

say() {
    printf '%s\n' "$1" | tr -d '\000-\011\013-\037' | head -n 1
    exit "$2"
}

if [ -n "${REDIS_PASSWORD_FILE-}" ]; then
    password=$(cat "$REDIS_PASSWORD_FILE" 2>/dev/null) || say "cannot read $REDIS_PASSWORD_FILE" 1
else
    password=${REDIS_PASSWORD-}
fi
# By this variable the password does not show in the list of processes.
[ -z "$password" ] || export REDISCLI_AUTH="$password" VALKEYCLI_AUTH="$password"

cli=valkey-cli
command -v "$cli" >/dev/null || cli=redis-cli
# Both commands in one connection. --raw gives INFO line by line.
answer=$(printf 'PING\nINFO persistence\n' | "$cli" --raw -h 127.0.0.1 -p "${REDIS_PORT:-6379}" 2>&1 | tr -d '\r')

case $answer in
PONG*loading:0*) say "answers PING, loading:0" 0 ;;
PONG*loading:1*) say "not yet: loads its data" 1 ;;
esac
say "not yet: ${answer:-no answer}" 1
