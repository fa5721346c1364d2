#!/bin/sh
# Installs the Debian packages that a make target needs: `prerequisites.sh python INTERPRETER` or `prerequisites.sh services`.
# Where it may not install, it names the command that does.
set -eu

has() { command -v "$1" >/dev/null 2>&1; }

packages=""
case "$1" in
python)
    has "$2" || packages="python3 python3-venv"
    if [ -z "$packages" ]; then
        "$2" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
            echo "Conveyor needs Python 3.11 or newer; name one: make PYTHON=/path/to/python3.11" >&2
            exit 1
        }
        "$2" -c 'import ensurepip, venv' 2>/dev/null || packages="python3-venv"
    fi
    ;;
services)
    # With a Docker engine the servers come as containers.
    if has docker && docker info >/dev/null 2>&1; then exit 0; fi
    has javac || packages="$packages default-jdk-headless"
    has mvn || packages="$packages maven"
    has redis-server || packages="$packages redis-server"
    ;;
*)
    echo "usage: $0 python INTERPRETER | services" >&2
    exit 2
    ;;
esac

[ -n "$packages" ] || exit 0

if [ "$(id -u)" != 0 ] || ! has apt-get; then
    echo "Missing here: $packages. Install with: sudo apt-get install --yes --no-install-recommends $packages" >&2
    exit 1
fi
echo "Installing $packages ..." >&2
export DEBIAN_FRONTEND=noninteractive
# Installing redis-server would start it on its usual port, where a service manager runs.
export RUNLEVEL=1
apt-get update -qq
# shellcheck disable=SC2086 # a list on purpose
apt-get install --yes -qq --no-install-recommends $packages
