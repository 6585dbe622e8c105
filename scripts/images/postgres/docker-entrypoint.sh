#!/bin/bash
# The documented behaviour of the official postgres image, written anew: makes a database
# cluster in $PGDATA on the first start, then becomes the server.
set -Eeuo pipefail

say() { printf 'docker-entrypoint: %s\n' "$*"; }
fail() {
    printf 'docker-entrypoint: error: %s\n' "$*" >&2
    exit 1
}

# NAME, or the contents of the file that NAME_FILE points to.
from_environment_or_file() { # NAME [DEFAULT]
    local name=$1 file_name=${1}_FILE
    if [ -n "${!name-}" ] && [ -n "${!file_name-}" ]; then
        fail "both $name and $file_name are set: give one of them"
    fi
    if [ -n "${!file_name-}" ]; then
        printf -v "$name" %s "$(<"${!file_name}")"
    else
        printf -v "$name" %s "${!name:-${2-}}"
    fi
    export "${name?}"
    unset "$file_name"
}

# Options that only print something and exit: no database is needed for them.
only_informs() {
    local argument
    for argument in "$@"; do
        case $argument in -'?' | --help | --describe-config | -V | --version) return 0 ;; esac
    done
    return 1
}

make_directories() {
    mkdir -p "$PGDATA" /var/run/postgresql
    chmod 700 "$PGDATA" 2>/dev/null || : # a mounted folder may refuse; the server checks it itself
    chmod 3775 /var/run/postgresql 2>/dev/null || :
    [ -z "${POSTGRES_INITDB_WALDIR-}" ] || mkdir -p "$POSTGRES_INITDB_WALDIR"
}

# Only where it differs: a blanket chown -R would copy every file of a prepared data
# directory up into the container's layer.
give_to_postgres() {
    local directory
    for directory in "$PGDATA" /var/run/postgresql ${POSTGRES_INITDB_WALDIR:+"$POSTGRES_INITDB_WALDIR"}; do
        find "$directory" \! -user postgres -exec chown postgres '{}' +
    done
}

check_authentication() {
    if [ -z "$POSTGRES_PASSWORD" ] && [ "$POSTGRES_HOST_AUTH_METHOD" != trust ]; then
        fail "the database is not initialised and no superuser password is given: set POSTGRES_PASSWORD" \
            "to a non-empty value (-e POSTGRES_PASSWORD=...), or POSTGRES_HOST_AUTH_METHOD=trust to let" \
            "everyone in without a password"
    fi
    if [ "$POSTGRES_HOST_AUTH_METHOD" = trust ]; then
        say "warning: POSTGRES_HOST_AUTH_METHOD=trust lets everyone in without a password" >&2
    fi
}

# From 18 on the data is one level higher; a volume on the old place would silently hold
# nothing, so the official image refuses it.
check_old_mounts() {
    local old=/var/lib/postgresql/data
    [ "$PGDATA" = "/var/lib/postgresql/$PG_MAJOR/docker" ] || return 0
    if [ -s "$old/PG_VERSION" ] || grep -q " $old " /proc/self/mountinfo; then
        fail "there is data or a mount in $old, which postgres $PG_MAJOR does not use:" \
            "mount a volume on /var/lib/postgresql instead"
    fi
}

init_cluster() {
    local -a arguments=()
    # As the official image does: the variable is shell text, quotes in it count.
    eval "arguments=($POSTGRES_INITDB_ARGS)"
    [ -z "${POSTGRES_INITDB_WALDIR-}" ] || arguments+=(--waldir "$POSTGRES_INITDB_WALDIR")

    # initdb refuses a user that has no name, as with --user 12345: lend it one.
    if ! getent passwd "$(id -u)" >/dev/null; then
        export NSS_WRAPPER_PASSWD=/tmp/passwd NSS_WRAPPER_GROUP=/tmp/group
        printf 'postgres:x:%s:%s::%s:/bin/false\n' "$(id -u)" "$(id -g)" "$PGDATA" >/tmp/passwd
        printf 'postgres:x:%s:\n' "$(id -g)" >/tmp/group
        export LD_PRELOAD=libnss_wrapper.so
    fi
    # An empty password file is an error to initdb, so without a password there is none.
    if [ -n "$POSTGRES_PASSWORD" ]; then
        initdb --username="$POSTGRES_USER" --pwfile=<(printf '%s\n' "$POSTGRES_PASSWORD") "${arguments[@]}"
    else
        initdb --username="$POSTGRES_USER" "${arguments[@]}"
    fi
    if [ "${LD_PRELOAD-}" = libnss_wrapper.so ]; then
        rm -f /tmp/passwd /tmp/group
        unset LD_PRELOAD NSS_WRAPPER_PASSWD NSS_WRAPPER_GROUP
    fi
}

allow_hosts() { # the server's arguments
    local method=${POSTGRES_HOST_AUTH_METHOD:-$(postgres -C password_encryption "$@")}
    printf '\nhost all all all %s\n' "$method" >>"$PGDATA/pg_hba.conf"
}

run_sql() { # arguments of psql
    PGHOST=/var/run/postgresql PGHOSTADDR='' PGPASSWORD=${PGPASSWORD:-$POSTGRES_PASSWORD} \
        psql -v ON_ERROR_STOP=1 --no-psqlrc --no-password --username "$POSTGRES_USER" "$@"
}

make_database() {
    [ "$POSTGRES_DB" != postgres ] || return 0
    run_sql --dbname postgres --quiet --set name="$POSTGRES_DB" <<<'CREATE DATABASE :"name";'
}

run_init_scripts() {
    local script
    for script in /docker-entrypoint-initdb.d/*; do
        [ -e "$script" ] || continue # the folder is empty
        case $script in
        *.sh)
            if [ -x "$script" ]; then
                say "running $script"
                "$script"
            else
                say "sourcing $script"
                # shellcheck source=/dev/null
                . "$script"
            fi
            ;;
        *.sql) say "running $script" && run_sql --dbname "$POSTGRES_DB" -f "$script" ;;
        *.sql.gz) say "running $script" && gunzip -c "$script" | run_sql --dbname "$POSTGRES_DB" ;;
        *.sql.xz) say "running $script" && xzcat "$script" | run_sql --dbname "$POSTGRES_DB" ;;
        *.sql.zst) say "running $script" && zstd -dc "$script" | run_sql --dbname "$POSTGRES_DB" ;;
        *) say "ignoring $script" ;;
        esac
    done
}

first_start() { # the server's arguments
    from_environment_or_file POSTGRES_PASSWORD
    from_environment_or_file POSTGRES_USER postgres
    from_environment_or_file POSTGRES_DB "$POSTGRES_USER"
    from_environment_or_file POSTGRES_INITDB_ARGS
    : "${POSTGRES_HOST_AUTH_METHOD:=}"
    check_authentication
    check_old_mounts
    # Say it before the time for initdb is spent.
    ls /docker-entrypoint-initdb.d/ >/dev/null
    init_cluster
    allow_hosts "$@"
    # On the Unix socket only: nobody outside may take this server for the ready one.
    PGUSER=${PGUSER:-$POSTGRES_USER} pg_ctl -D "$PGDATA" -w start \
        -o "$(printf '%q ' "$@" -c listen_addresses= -p "${PGPORT:-5432}")"
    make_database
    run_init_scripts
    PGUSER=${PGUSER:-postgres} pg_ctl -D "$PGDATA" -m fast -w stop
    # Tools that know the official image look for this very line in the log.
    printf '\nPostgreSQL init process complete; ready for start up.\n\n'
}

case ${1-} in -*) set -- postgres "$@" ;; esac

if [ "${1-}" = postgres ] && ! only_informs "$@"; then
    make_directories
    if [ "$(id -u)" = 0 ]; then
        give_to_postgres
        HOME=/var/lib/postgresql exec setpriv --reuid=postgres --regid=postgres --init-groups "$0" "$@"
    fi
    if [ -s "$PGDATA/PG_VERSION" ]; then
        printf '\nPostgreSQL Database directory appears to contain a database; Skipping initialization\n\n'
    else
        first_start "${@:2}"
    fi
fi

exec "$@"
