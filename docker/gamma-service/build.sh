#!/usr/bin/env bash
# Builds `kappa/gamma-service` from this checkout: `make gamma-image`.
# Variables: BASE, an image to start from in place of `python:3.11-slim`; ENGINE, docker or podman; PYTHON, which makes
# the wheel; NAME, of the image; more arguments of the build are taken as they are.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

version=$(sed -n 's/^__version__ = "\(.*\)"/\1/p' ../../kappa/_version.py)
name=${NAME:-kappa/gamma-service}
context=$(mktemp -d)
trap 'rm -rf "$context"' EXIT
"${PYTHON:-python3}" -m pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir "$context" ../..
cp Dockerfile entrypoint.sh "$context"
arguments=(--build-arg "VERSION=$version")
[ -z "${BASE:-}" ] || arguments+=(--build-arg "BASE=$BASE")
"${ENGINE:-docker}" build "${arguments[@]}" "$@" --tag "$name:$version" --tag "$name:latest" "$context"
echo "$name:$version"
