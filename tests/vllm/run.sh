#!/bin/sh
# Tests the gateway in front of two real vLLM servers on the CPU. The first run installs 3 GB under .cache.
set -eu
cd "$(dirname "$0")/../.."
cache=$PWD/.cache/vllm
free=$(df -Pk . | awk 'NR == 2 {print int($4 / 1048576)}')
if [ ! -e "$cache/complete" ] && [ "$free" -lt 4 ]; then
    echo "needs 3 GB of disk for vLLM and torch; $free GB are free" >&2
    exit 1
fi
mkdir -p "$cache"
TINY_VLLM_HOME=$cache tests/vllm/serve.sh --servers 0 >/dev/null
exec .cache/python/bin/python -m pytest -q -p no:cacheprovider tests/vllm
