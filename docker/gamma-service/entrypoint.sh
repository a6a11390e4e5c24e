#!/usr/bin/env bash
# Starts the Gamma server. Arguments that begin with `-` are its options; anything else is run in its place
# (`docker run -it IMAGE bash`). It runs as the owner of /kappa, so that files in a mounted folder belong to who owns that.
set -euo pipefail

if [ "$#" -eq 0 ] || [ "${1#-}" != "$1" ]; then
    set -- kappa gamma-service-start "$@"
fi
owner=$(stat --format %u /kappa)
if [ "$(id -u)" = 0 ] && [ "$owner" != 0 ]; then
    export HOME=/kappa
    exec setpriv --reuid "$owner" --regid "$(stat --format %g /kappa)" --clear-groups -- "$@"
fi
exec "$@"
