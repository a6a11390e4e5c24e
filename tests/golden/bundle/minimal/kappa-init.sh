#!/usr/bin/env bash
# Prepares an image, or a machine, for this bundle. Without arguments it takes every step but the last; with arguments,
# the steps that they name: install_system_packages custom_setup restore_conda_env ensure_python install_pip_packages
# install_kappa create_user. Variables: EXTRA_PIP_INSTALL_ARGS, words for `pip install`; KAPPA_ALLOW_UNLOCKED, any text
# to install packages that have no hashes; KAPPA_VENV, where packages go (/opt/kappa); KAPPA_UID and KAPPA_GID, whom the
# server runs as (1034).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

venv=${KAPPA_VENV:-/opt/kappa}
conda=${MAMBA_ROOT_PREFIX:-${CONDA_PREFIX:-/opt/conda}}
steps='install_system_packages custom_setup restore_conda_env ensure_python install_pip_packages install_kappa'
if [ -f environment.yml ] && [ -x "$conda/bin/python3" ]; then
    PATH="$conda/bin:$PATH" # the Python of a conda image is not on its PATH
fi

fail() {
    echo "kappa-init.sh: $*" >&2
    exit 1
}

install_system_packages() {
    return 0 # the kappafile names no system_packages
}

custom_setup() {
    if [ -f setup.sh ]; then
        bash ./setup.sh
    fi
}

restore_conda_env() {
    local tool
    if [ ! -f environment.yml ]; then
        return 0 # the kappafile asks for nothing of conda's
    fi
    for tool in micromamba mamba conda; do
        command -v "$tool" >/dev/null || continue
        case $tool in
            micromamba) micromamba install --yes --name base --file environment.yml && micromamba clean --all --yes ;;
            *) "$tool" env update --name base --file environment.yml && "$tool" clean --all --yes ;;
        esac
        return
    done
    echo 'kappa-init.sh: this image has no conda, mamba or micromamba: environment.yml is ignored.' >&2
}

ensure_python() {
    local wanted found
    wanted=$(cat python_version)
    command -v python3 >/dev/null || fail "there is no python3 here, and the bundle needs Python $wanted."
    found=$(python3 -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    [ "$found" = "$wanted" ] || fail "python3 is Python $found here, and the bundle needs Python $wanted."
    python3 -m venv "$venv" || fail "python3 cannot make a virtual environment: on Debian, install python3-venv."
}

install_pip_packages() {
    local hashes=--require-hashes
    if head -n 1 requirements.txt | grep -q ' resolver=installed$'; then
        [ -n "${KAPPA_ALLOW_UNLOCKED:-}" ] ||
            fail 'the packages of this bundle have no hashes: build it again where an index can be asked, or allow it with KAPPA_ALLOW_UNLOCKED=1.'
        hashes=
    fi
    # The variables are none or several words on purpose.
    # shellcheck disable=SC2086
    "$venv/bin/python3" -m pip install --no-cache-dir --disable-pip-version-check $hashes \
        -r requirements.txt ${EXTRA_PIP_INSTALL_ARGS:-}
}

install_kappa() {
    # What Kappa needs came with requirements.txt, so nothing is asked of an index, where that name is another project.
    "$venv/bin/python3" -m pip install --no-cache-dir --disable-pip-version-check --no-index --no-deps \
        ./*/_kappa/kappa_ml-*.whl
}

create_user() {
    local uid=${KAPPA_UID:-1034} gid=${KAPPA_GID:-1034}
    case $uid$gid in
        *[!0-9]*) fail "UID and GID must be numbers, not '$uid' and '$gid'." ;;
    esac
    # Written by hand, because the commands for it differ between distributions.
    grep -q "^[^:]*:[^:]*:$gid:" /etc/group || echo "kappa:x:$gid:" >>/etc/group
    grep -q "^[^:]*:[^:]*:$uid:" /etc/passwd || echo "kappa:x:$uid:$gid:Kappa:/home/kappa:/bin/bash" >>/etc/passwd
    mkdir -p /home/kappa
    chown "$uid:$gid" /home/kappa
}

if [ "$#" -eq 0 ]; then
    # shellcheck disable=SC2086
    set -- $steps
fi
for step in "$@"; do
    case " $steps create_user " in
        *" $step "*) "$step" ;;
        *) fail "there is no step '$step'; the steps are: $steps create_user" ;;
    esac
done
