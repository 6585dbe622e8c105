#!/bin/sh
# Is Postgres usable inside its container? The contract of a check: README.md.
#
# Reads  POSTGRES_USER, POSTGRES_DB, POSTGRES_PASSWORD or POSTGRES_PASSWORD_FILE (as the official image does),
#        PGPORT (default 5432).
#
# It asks over TCP: the temporary server of the image's first start listens on the Unix socket only, so nothing
# is healthy before the real one runs.

say() {
    printf '%s\n' "$1" | tr -d '\000-\011\013-\037' | head -n 1
    exit "$2"
}

user=${POSTGRES_USER:-postgres}
database=${POSTGRES_DB:-$user}
if [ -n "${POSTGRES_PASSWORD_FILE-}" ]; then
    PGPASSWORD=$(cat "$POSTGRES_PASSWORD_FILE" 2>/dev/null) || say "cannot read $POSTGRES_PASSWORD_FILE" 1
else
    PGPASSWORD=${POSTGRES_PASSWORD-}
fi
export PGPASSWORD PGCONNECT_TIMEOUT=1 PGAPPNAME=envctl-healthcheck
# A single psql both connects and asks; pg_isready before it would only cost another program's start.
answer=$(psql --no-psqlrc --no-password --tuples-only --no-align --host 127.0.0.1 --port "${PGPORT:-5432}" \
    --username "$user" --dbname "$database" --command 'SELECT 1' 2>&1)

[ "$answer" = 1 ] && say "answers SELECT 1" 0
# psql's first line names the address and then the reason; a hint may follow on the next.
reason=$(printf '%s\n' "$answer" | sed -n '1s/^.* failed: //p')
say "not yet: ${reason:-${answer:-no answer}}" 1
