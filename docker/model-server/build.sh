#!/usr/bin/env bash
# Builds `kappa/model-server` in all its variants, for each Python version: `make images`.
# Variables: PYTHONS, the versions; VARIANTS, of conda, slim and gpu; BASE_CONDA, BASE_SLIM and BASE_GPU, images to start
# from instead of the public ones; CHANNEL, where conda's packages come from; ENGINE, docker or podman.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

version=$(sed -n 's/^__version__ = "\(.*\)"/\1/p' ../../kappa/_version.py)
for python in ${PYTHONS:-3.10 3.11 3.12 3.13 3.14}; do
    for variant in ${VARIANTS:-conda slim gpu}; do
        short=py${python/./}
        case $variant in
            conda) file=Dockerfile tag=$version-$short base=${BASE_CONDA:-} ;;
            slim) file=slim.Dockerfile tag=$version-slim-$short base=${BASE_SLIM:-} ;;
            gpu) file=gpu.Dockerfile tag=$version-$short-gpu base=${BASE_GPU:-} ;;
            *) echo "There is no variant '$variant': say conda, slim or gpu." >&2 && exit 2 ;;
        esac
        arguments=(--build-arg "PYTHON=$python" --build-arg "VERSION=$version")
        [ -z "$base" ] || arguments+=(--build-arg "BASE=$base")
        [ "$variant" != conda ] || [ -z "${CHANNEL:-}" ] || arguments+=(--build-arg "CHANNEL=$CHANNEL")
        "${ENGINE:-docker}" build "${arguments[@]}" --tag "kappa/model-server:$tag" --file "$file" .
        echo "kappa/model-server:$tag"
    done
done
