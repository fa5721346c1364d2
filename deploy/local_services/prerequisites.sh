#!/bin/sh
# Installs the Debian packages that a make target needs. Where it may not install, it names the command that does.
#   prerequisites.sh tools                make and git
#   prerequisites.sh python INTERPRETER   what .venv is made with
#   prerequisites.sh services             Kafka, MongoDB and Redis, as containers or as processes
#   prerequisites.sh processes            the same as processes only: tests kill them, benches measure them
#   prerequisites.sh foreign              what the clients in JavaScript, Go and Java are built with
set -eu

has() { command -v "$1" >/dev/null 2>&1; }

packages=""
case "$1" in
tools)
    has make || packages="$packages make"
    has git || packages="$packages git"
    ;;
python)
    has "$2" || packages=" python3 python3-venv"
    if [ -z "$packages" ]; then
        "$2" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
            echo "Conveyor needs Python 3.11 or newer; name one: make PYTHON=/path/to/python3.11" >&2
            exit 1
        }
        "$2" -c 'import ensurepip, venv' 2>/dev/null || packages=" python3-venv"
    fi
    ;;
services | processes)
    if [ "$1" = services ] && has docker && docker info >/dev/null 2>&1; then exit 0; fi
    has javac || packages="$packages default-jdk-headless"
    has mvn || packages="$packages maven"
    has redis-server || packages="$packages redis-server"
    if [ "$1" = processes ]; then # of a worker in shell, in docs/howto
        has curl || packages="$packages curl"
        has jq || packages="$packages jq"
    fi
    ;;
foreign)
    has node || packages="$packages nodejs"
    has npm || packages="$packages npm"
    has go || packages="$packages golang-go"
    has javac || packages="$packages default-jdk-headless"
    has mvn || packages="$packages maven"
    ;;
*)
    echo "usage: $0 tools | python INTERPRETER | services | processes | foreign" >&2
    exit 2
    ;;
esac

[ -n "$packages" ] || exit 0

sudo=""
if [ "$(id -u)" != 0 ]; then
    # A CI agent may use its sudo; a person is asked.
    if [ "${CI:-}" = true ] && has sudo && sudo -n true 2>/dev/null; then sudo="sudo -n"; else sudo=none; fi
fi
if [ "$sudo" = none ] || ! has apt-get; then
    echo "Missing here:$packages. Install with:" >&2
    echo "    sudo apt-get update && sudo apt-get install --yes --no-install-recommends$packages" >&2
    exit 1
fi

# RUNLEVEL: installing redis-server would start it on its usual port, where a service manager runs.
# Lock::Timeout: a new machine may be busy updating itself.
apt() {
    $sudo env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 \
        apt-get -qq -o Acquire::Retries=3 -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0 "$@" </dev/null
}
echo "Installing$packages ..." >&2
log=$(mktemp)
trap 'rm -f "$log"' EXIT
# shellcheck disable=SC2086 # a list on purpose
{ apt update && apt install --yes --no-install-recommends $packages; } >"$log" 2>&1 || {
    cat "$log" >&2
    exit 1
}
