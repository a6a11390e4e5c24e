#!/usr/bin/env bash
# Serves the bundle. Arguments that begin with `-` go to the server (`docker run IMAGE --workers 2`); anything else is
# run in its place (`docker run -it IMAGE bash`).
set -euo pipefail

if [ "$#" -eq 0 ] || [ "${1#-}" != "$1" ]; then
    bundle=${BUNDLE_PATH:-$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)}
    set -- kappa serve-gunicorn "$bundle" --port "${PORT:-5000}" "$@"
fi
exec "$@"
