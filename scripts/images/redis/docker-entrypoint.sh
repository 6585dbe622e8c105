#!/bin/sh
# The documented behaviour of the official redis and valkey images, written anew: options or
# a configuration file alone mean the server, and root becomes the user the server runs as.
set -eu

# shellcheck disable=SC2153 # SERVER is redis or valkey, set by the Dockerfile
server=$SERVER-server

case ${1-} in
-* | *.conf) set -- "$server" "$@" ;;
esac

if [ "${1-}" = "$server" ] && [ "$(id -u)" = 0 ]; then
    # Only where it differs, so that prepared data is not copied up into the container's layer.
    find . \! -user "$SERVER" -exec chown "$SERVER" '{}' +
    exec setpriv --reuid="$SERVER" --regid="$SERVER" --init-groups "$0" "$@"
fi

# Data files are nobody else's business, unless another umask was chosen.
[ "$(umask)" != 0022 ] || umask 0077

# The official images are compiled with protected mode off, because in a container every
# client is a remote one; Debian's servers are not. It is said first, so that options given
# after it win, and not at all where a configuration file speaks of it.
if [ "${1-}" = "$server" ]; then
    shift
    case ${1-} in
    - | -v | --version | -h | --help | --test-memory | --check-system) set -- "$server" "$@" ;;
    '' | --*) set -- "$server" --protected-mode no "$@" ;;
    *)
        conf=$1
        shift
        if grep -qs '^[[:space:]]*protected-mode' "$conf"; then
            set -- "$server" "$conf" "$@"
        else
            set -- "$server" "$conf" --protected-mode no "$@"
        fi
        ;;
    esac
    # shellcheck disable=SC2086 # the valkey image documents it as words
    [ "$SERVER" != valkey ] || set -- "$@" ${VALKEY_EXTRA_FLAGS-}
fi

exec "$@"
