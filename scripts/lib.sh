# SPDX-License-Identifier: Apache-2.0
# What ./run, ./test and their parts share: steps with progress, packages, the build. Sourced.
# shellcheck shell=bash

project_dir=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P)
build_root=$project_dir/build
log_dir=$build_root/logs
mkdir -p -- "$log_dir"
. "$project_dir/scripts/install.sh"

say() { printf '%s\n' "$*"; }
die() { printf '%s: %s\n' "${0##*/}" "$*" >&2; exit 1; }

# until_true SECONDS COMMAND...: waits until the command succeeds.
until_true() {
  local deadline=$((SECONDS + $1))
  shift
  until "$@" >/dev/null 2>&1; do
    ((SECONDS < deadline)) || return 1
    sleep 0.1
  done
}

# step TITLE COMMAND...: runs the command with its output in a log file, shows that it is alive, how
# long it took, and the end of the log when it fails. Returns the command's status.
step() {
  local title=$1 status=0 started=$SECONDS pid shown=0
  shift
  local log=$log_dir/${title//[^A-Za-z0-9]/-}.log
  printf '  %-58s ' "$title"
  "$@" >"$log" 2>&1 </dev/null &
  pid=$!
  while kill -0 "$pid" 2>/dev/null; do
    sleep 0.2
    if ((SECONDS - started >= 5 * (shown + 1))); then
      printf '.'
      shown=$((shown + 1))
    fi
  done
  wait "$pid" || status=$?
  if ((status == 0)); then
    printf ' ok (%d s)\n' $((SECONDS - started))
  else
    printf ' FAILED (status %d)\n' "$status"
    tail -n 40 -- "$log" | sed 's/^/    | /'
    say "    The whole log: $log"
  fi
  return "$status"
}

# build PRESET [TARGET...]: configures and builds one of the CMake presets.
build() {
  local preset=$1
  shift
  local -a targets=()
  (($# == 0)) || targets=(--target "$@")
  (cd -- "$project_dir" && cmake --preset "$preset" && cmake --build --preset "$preset" "${targets[@]}")
}
