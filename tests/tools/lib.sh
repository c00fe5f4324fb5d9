# SPDX-License-Identifier: MIT
# For the tests of the scripts: sourced, not run. Each check prints "ok NAME" or "FAIL NAME: why";
# tests/run-tool-tests counts these lines.
# shellcheck shell=bash

# shellcheck disable=SC2034 # used by those who source this
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

# expect NAME STATUS REGEX COMMAND...: runs the command, wants its exit status and, unless the regex
# is empty, a match in its output (both streams).
expect() {
  local name=$1 status=$2 regex=$3 output got=0
  shift 3
  output=$("$@" 2>&1) || got=$?
  if [[ $got != "$status" ]]; then
    printf 'FAIL %s: exit status %s, expected %s: %s\n' "$name" "$got" "$status" "${output//$'\n'/ | }"
  elif [[ -n $regex ]] && ! grep -qE -- "$regex" <<<"$output"; then
    printf 'FAIL %s: no match for %s: %s\n' "$name" "$regex" "${output//$'\n'/ | }"
  else
    printf 'ok %s\n' "$name"
  fi
}

# fake DIRECTORY NAME BODY: an executable that stands for a real one when DIRECTORY leads PATH.
fake() {
  mkdir -p "$1"
  printf '#!/bin/bash\n%s\n' "$3" >"$1/$2"
  chmod +x "$1/$2"
}
