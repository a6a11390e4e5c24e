#!/usr/bin/env bash
# Prepares an image, or a machine, for this bundle. Without arguments it takes the steps that a machine needs; with
# arguments, those that they name: install_system_packages custom_setup restore_conda_env ensure_python
# install_build_packages install_pip_packages install_kappa create_user make_readable.
# Variables: EXTRA_PIP_INSTALL_ARGS, words for `pip install`; KAPPA_ALLOW_UNLOCKED, any text to install packages that
# have no hashes; KAPPA_VENV, where packages go (/opt/kappa); DESTDIR, what stands before a path while Kappa is installed
# or files are made readable; KAPPA_UID and KAPPA_GID, whom the server runs as (1034); KAPPA_COMPILER=apt, to install one
# if a package needs it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

venv=${KAPPA_VENV:-/opt/kappa}
conda=${MAMBA_ROOT_PREFIX:-${CONDA_PREFIX:-/opt/conda}}
machine_steps='install_system_packages custom_setup restore_conda_env ensure_python install_pip_packages install_kappa'
all_steps="$machine_steps install_build_packages create_user make_readable"
if [ -f environment.yml ]; then
    PATH="$conda/bin:$PATH" # the Python of a conda image is not on its PATH
fi

fail() {
    echo "kappa-init.sh: $*" >&2
    exit 1
}

# What whoever builds an image lends to it: certificates, settings of pip, passwords. No layer keeps any of this.
borrow_secrets() {
    local file name
    for file in "${KAPPA_SECRETS:-/run/secrets}"/*; do
        name=${file##*/}
        [ -r "$file" ] || continue
        case $name in
            kappa-ca.crt) export PIP_CERT=$file SSL_CERT_FILE=$file REQUESTS_CA_BUNDLE=$file CURL_CA_BUNDLE=$file ;;
            pip.conf) export PIP_CONFIG_FILE=$file ;;
            netrc | .netrc) export NETRC=$file ;;
            PIP_*[!A-Z0-9_]*) ;;
            PIP_*) export "$name=$(cat "$file")" ;;
        esac
    done
}

install_debian_packages() {
    command -v apt-get >/dev/null || fail "$1 are Debian packages, and this image has no apt-get."
    shift
    export DEBIAN_FRONTEND=noninteractive
    apt-get update
    apt-get install --yes --no-install-recommends -- "$@"
    rm -rf /var/lib/apt/lists/*
}

install_system_packages() {
    return 0 # the kappafile names no system_packages
}

install_build_packages() {
    return 0 # the kappafile names no build_packages
}

custom_setup() {
    local refreshed=''
    [ -f setup.sh ] || return 0
    if command -v apt-get >/dev/null && grep -Eqw 'apt|apt-get' setup.sh; then # nobody is there to answer its questions
        export DEBIAN_FRONTEND=noninteractive APT_CONFIG=/tmp/kappa-apt.conf
        echo 'APT::Get::Assume-Yes "true";' >"$APT_CONFIG"
        if ! ls /var/lib/apt/lists/*Packages* >/dev/null 2>&1; then
            apt-get update
            refreshed=1
        fi
    fi
    bash ./setup.sh
    rm -f /tmp/kappa-apt.conf
    [ -z "$refreshed" ] || rm -rf /var/lib/apt/lists/*
}

restore_conda_env() {
    local tool
    if [ ! -f environment.yml ]; then
        return 0 # the kappafile asks for nothing of conda's
    fi
    for tool in micromamba mamba conda; do
        command -v "$tool" >/dev/null || continue
        case $tool in
            micromamba)
                # It has no default channels that `nodefaults` could take away, and would look for one of that name.
                sed '/^- nodefaults$/d' environment.yml >/tmp/environment.yml
                micromamba install --yes --name base --file /tmp/environment.yml
                rm /tmp/environment.yml
                ;;
            *) "$tool" env update --name base --file environment.yml ;;
        esac
        "$tool" clean --all --yes
        return
    done
    echo 'kappa-init.sh: warning: this image has no conda, mamba or micromamba: environment.yml is ignored.' >&2
}

# Prints the interpreter that the bundle wants, if there is one.
find_python() {
    local wanted name
    wanted=$(cat python_version)
    for name in python3 "python$wanted" python; do
        if [ "$("$name" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)" = "$wanted" ]; then
            command -v "$name"
            return
        fi
    done
    return 1
}

ensure_python() {
    local wanted python
    wanted=$(cat python_version)
    if ! python=$(find_python); then
        command -v python3 >/dev/null || fail "there is no python3 here, and the bundle needs Python $wanted."
        fail "python3 is $(python3 --version) here, and the bundle needs Python $wanted."
    fi
    "$python" -c 'import ensurepip, venv' 2>/dev/null ||
        fail 'python3 cannot make a virtual environment: on Debian, install python3-venv.'
}

install_pip_packages() {
    local python options=(--disable-pip-version-check --no-compile) tools log
    if ! head -n 1 requirements.txt | grep -qE ' resolver=installed( |$)'; then
        options+=(--require-hashes)
    elif [ -z "${KAPPA_ALLOW_UNLOCKED:-}" ]; then
        fail 'the packages of this bundle have no hashes: build it again where an index can be asked, or allow it with KAPPA_ALLOW_UNLOCKED=1.'
    fi
    if [ -d /var/cache/kappa ]; then
        options+=(--cache-dir /var/cache/kappa)
    else
        options+=(--no-cache-dir)
    fi
    python=$(find_python) || fail 'take the step ensure_python first.'
    # pip runs from a folder of its own, so that the environment has none.
    tools=$(mktemp -d)
    log=$tools/log
    "$python" -c "$unpack_pip" "$tools" || fail 'python3 comes without pip: on Debian, install python3-venv.'
    if [ -f environment.yml ] && [ "$python" = "$conda/bin/python3" ]; then
        "$python" -m venv --without-pip --system-site-packages "$venv" # so that it finds what conda installed
    else
        "$python" -m venv --without-pip "$venv"
    fi
    if ! run_pip "$tools" "${options[@]}" 2>&1 | tee "$log"; then
        if [ "${KAPPA_COMPILER:-}" != apt ] || ! grep -qiE 'failed building wheel|failed to build|subprocess-exited' "$log"; then
            fail 'pip could not install the packages of requirements.txt; its own words stand above.'
        fi
        echo 'kappa-init.sh: warning: a package has no wheel for this image: it is compiled.' >&2
        install_compiler "$python"
        run_pip "$tools" "${options[@]}" || fail 'a package could not be compiled; the words of pip stand above.'
    fi
    rm -rf "$tools"
    settle "$venv" "$python"
}

unpack_pip='
import ensurepip, glob, os, sys, sysconfig, zipfile
folders = [sysconfig.get_config_var("WHEEL_PKG_DIR"), os.path.join(os.path.dirname(ensurepip.__file__), "_bundled")]
wheels = [wheel for folder in folders if folder for wheel in glob.glob(os.path.join(folder, "pip-*.whl"))]
zipfile.ZipFile(max(wheels)).extractall(sys.argv[1])
'

run_pip() {
    local tools=$1
    shift
    # EXTRA_PIP_INSTALL_ARGS is none or several words on purpose.
    # shellcheck disable=SC2086
    "$venv/bin/python3" "$tools/pip" install "$@" -r requirements.txt ${EXTRA_PIP_INSTALL_ARGS:-}
}

install_compiler() {
    local packages=(gcc g++ make pkg-config)
    if [ ! -f "$("$1" -c 'import sysconfig; print(sysconfig.get_path("include"))')/Python.h" ]; then
        packages+=("python$(cat python_version)-dev")
    fi
    install_debian_packages 'Compilers' "${packages[@]}"
}

# Gives all files one time, which stands in what Python compiles of them too: equal packages are equal layers, wherever
# they were installed. Nothing imports the packages' own tests, so these are not compiled.
settle() {
    local options=(-q -j 0 -x '/tests?/' --invalidation-mode timestamp -s "${DESTDIR:-/}" -p /)
    find "$1" -exec touch -h -d @315532800 {} +
    "$2" -m compileall "${options[@]}" "$1" >/dev/null || true
    find "$1" '(' -name '*.pyc' -o -type d ')' -exec touch -d @315532800 {} +
}

install_kappa() {
    # Kappa is pure Python, so its wheel is installed by unpacking it: no index is asked, where its name is another's.
    local python packages
    python=$(find_python) || fail 'take the step ensure_python first.'
    packages=${DESTDIR:-}$venv/lib/python$(cat python_version)/site-packages
    mkdir -p "$packages" "${DESTDIR:-}$venv/bin"
    "$python" -m zipfile -e ./*/_kappa/kappa_ml-*.whl "$packages"
    printf '#!%s/bin/python3\nfrom kappa.cli.main import main\n\nmain()\n' "$venv" >"${DESTDIR:-}$venv/bin/kappa"
    chmod 755 "${DESTDIR:-}$venv/bin/kappa"
    if [ -n "${DESTDIR:-}" ]; then
        settle "$DESTDIR$venv" "$python"
    fi
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

make_readable() {
    # A copy may have lost what a build gave: the server is another user than whoever owns the files.
    find "${DESTDIR:-.}" -type d ! -perm -0555 -exec chmod a+rx {} +
    find "${DESTDIR:-.}" -type f ! -perm -0444 -exec chmod a+r {} +
}

if [ "$#" -eq 0 ]; then
    # shellcheck disable=SC2086
    set -- $machine_steps
fi
borrow_secrets
for step in "$@"; do
    case " $all_steps " in
        *" $step "*) "$step" ;;
        *) fail "there is no step '$step'; the steps are: $all_steps" ;;
    esac
done
