#!/usr/bin/env bash
# Installs a version of Python: the distribution's own if it has it, else that of the deadsnakes archive, on Ubuntu.
set -euo pipefail

version=$1
export DEBIAN_FRONTEND=noninteractive
apt-get update
if [ -z "$(apt-cache search --names-only "^python$version-venv\$")" ]; then
    apt-get install --yes --no-install-recommends gnupg software-properties-common
    add-apt-repository --yes ppa:deadsnakes/ppa
fi
apt-get install --yes --no-install-recommends ca-certificates "python$version" "python$version-venv"
rm -rf /var/lib/apt/lists/*
