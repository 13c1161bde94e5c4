#!/bin/sh
# Reads --x=… and --y=…, or both from the JSON object in HPO_PARAMS, and prints loss=….
set -eu

from_json() {
    printf '%s' "${HPO_PARAMS:-}" | sed -n "s/.*\"$1\" *: *\([-+.0-9eE]*\).*/\1/p"
}

x=$(from_json x) y=$(from_json y)
for flag in "$@"; do
    case $flag in
        --x=*) x=${flag#*=} ;;
        --y=*) y=${flag#*=} ;;
    esac
done

awk -v x="${x:-0}" -v y="${y:-0}" 'BEGIN {
    printf "loss=%.9g\n", (x * x + y - 11) ^ 2 + (x + y * y - 7) ^ 2
}'
