#!/usr/bin/env bash
# Fails unless this image has what `kappa-init.sh` of a bundle needs: bash, and a Python of this version with venv.
set -euo pipefail

wanted=$1
python=$(command -v "python$wanted" || command -v python3)
found=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
[ "$found" = "$wanted" ] || { echo "This image has Python $found, not $wanted." >&2 && exit 1; }
"$python" -c 'import ensurepip, venv'
