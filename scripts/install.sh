# SPDX-License-Identifier: Apache-2.0
# What takes root: sudo, and Debian packages that are missing. Sourced by scripts/lib.sh and
# lab/setup, which define die.
# shellcheck shell=bash

# Runs a command as root: directly, or through sudo.
as_root() {
  if ((EUID == 0)); then
    "$@"
  elif command -v sudo >/dev/null; then
    sudo -- "$@"
  else
    die "needs root for: $* (run as root, or install sudo)"
  fi
}

# Prints which of the packages listed in the given files, one per line, are not installed.
missing_packages() {
  local -a wanted
  mapfile -t wanted < <(sed 's/#.*//; /^[[:space:]]*$/d' "$@" | sort -u)
  dpkg-query --show --showformat='${Package} ${db:Status-Status}\n' -- "${wanted[@]}" 2>/dev/null |
    sed -n 's/ installed$//p' | sort -u | comm -13 - <(printf '%s\n' "${wanted[@]}")
}

# install_packages FILE...
install_packages() {
  local -a missing
  mapfile -t missing < <(missing_packages "$@")
  ((${#missing[@]})) || return 0
  printf 'installing %s\n' "${missing[*]}" >&2
  apt_get update &&
    apt_get install --yes --no-install-recommends -- "${missing[@]}" ||
    die "apt-get failed: install these packages by hand and try again: ${missing[*]}"
}

apt_get() { as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300 "$@" >&2; }
