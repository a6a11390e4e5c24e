#!/usr/bin/env bash
# Serves the bundle. Arguments that begin with `-` go to the server (`docker run IMAGE --workers 2`); anything else is
# run in its place (`docker run -it IMAGE bash`).
set -euo pipefail

# What conda's packages need to find their own files, e.g. JAVA_HOME and PROJ_DATA.
conda=${CONDA_PREFIX:-${MAMBA_ROOT_PREFIX:-/opt/conda}}
if [ -d "$conda/etc/conda/activate.d" ]; then
    export CONDA_PREFIX=$conda
    for script in "$conda"/etc/conda/activate.d/*.sh; do
        set +eu
        # shellcheck disable=SC1090
        . "$script"
        set -eu
    done
fi

if [ "$#" -eq 0 ] || [ "${1#-}" != "$1" ]; then
    bundle=${BUNDLE_PATH:-$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)}
    set -- kappa serve-gunicorn "$bundle" --port "${PORT:-5000}" "$@"
fi
exec "$@"
