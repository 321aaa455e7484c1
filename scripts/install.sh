# SPDX-License-Identifier: Apache-2.0
# Installs Debian packages that are missing. Sourced by scripts/lib.sh and lab/setup.
# shellcheck shell=bash

# Prints which of the packages listed in the given files, one per line, are not installed.
missing_packages() {
  local -a wanted
  mapfile -t wanted < <(sed 's/#.*//; /^[[:space:]]*$/d' "$@" | sort -u)
  dpkg-query --show --showformat='${Package} ${db:Status-Status}\n' -- "${wanted[@]}" 2>/dev/null |
    sed -n 's/ installed$//p' | sort -u | comm -13 - <(printf '%s\n' "${wanted[@]}")
}

# install_packages FILE...: as root or through sudo; returns 1 when it cannot, having said why.
install_packages() {
  local -a missing as_root=()
  mapfile -t missing < <(missing_packages "$@")
  ((${#missing[@]})) || return 0
  if ((EUID != 0)); then
    as_root=(sudo --)
    command -v sudo >/dev/null || {
      printf 'These Debian packages are missing: %s\n' "${missing[*]}"
      printf 'Install them, or run this again as root or where there is sudo.\n'
      return 1
    } >&2
  fi
  printf 'installing %s\n' "${missing[*]}" >&2
  local -a apt_get=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive
    apt-get -qq -o DPkg::Lock::Timeout=300)
  { "${apt_get[@]}" update && "${apt_get[@]}" install --yes --no-install-recommends -- "${missing[@]}"; } >&2 || {
    printf 'apt-get failed: install these packages by hand and try again: %s\n' "${missing[*]}" >&2
    return 1
  }
}
