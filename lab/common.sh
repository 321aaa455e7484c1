# SPDX-License-Identifier: Apache-2.0
# Paths and messages shared by the lab's scripts. Sourced, never run.
# shellcheck shell=bash disable=SC2034

lab_dir=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd -P)
project_dir=${lab_dir%/*}
build_dir=$project_dir/build/lab
kernel_dir=$build_dir/kernel
host_initrd=$build_dir/host-initrd
guest_initrd=$build_dir/guest-initrd

readonly kExitUsage=2
readonly kExitTimeout=124
readonly kExitLabFailed=125  # the lab itself failed; the command's own statuses pass through
readonly kKernelComplaint='Oops|BUG:|Kernel panic|double fault|general protection|cut here'

# Prints the seconds since START, a value of EPOCHREALTIME.
elapsed() { awk -v from="$1" -v to="$EPOCHREALTIME" 'BEGIN { printf "%.1f", to - from }'; }

say() { printf 'lab/%s: %s\n' "${0##*/}" "$*" >&2; }
die() { say "$*"; exit "$kExitLabFailed"; }
usage_error() { say "$* (try lab/${0##*/} --help)"; exit "$kExitUsage"; }

# True if FILE exists and is newer than each of the other arguments.
is_newer_than_all() {
  local file=$1 source
  shift
  [[ -e $file ]] || return 1
  for source in "$@"; do [[ $file -nt $source ]] || return 1; done
}

kernel_version() { cat -- "$kernel_dir/version"; }

# Prints the path of each module named, after those that it depends on, each once; names that are
# built in or unknown to this kernel are skipped.
module_closure() {
  local name
  for name in "$@"; do
    modprobe --dirname "$kernel_dir" --set-version "$(kernel_version)" --config /dev/null \
      --show-depends --ignore-install -- "$name" 2>/dev/null || true
  done | sed -n 's/^insmod \(.*\.ko\) *$/\1/p' | awk '!seen[$0]++'
}

# Prints a new directory to build the initrd FILE in, with what every initrd has.
new_tree() {
  local dir=$1.dir
  rm -rf -- "$dir"
  mkdir -p -- "$dir"/{bin,dev,proc,sys,modules}
  cp -- /bin/busybox "$dir/bin/busybox"
  printf '%s\n' "$dir"
}

add_applets() {
  local dir=$1 applet
  shift
  for applet in "$@"; do ln -s busybox "$dir/bin/$applet"; done
}

# Puts the modules named, and those they need, into modules/ in the order of loading.
add_modules() {
  local dir=$1 order=10 module
  shift
  while read -r module; do
    cp -- "$module" "$dir/modules/$order-${module##*/}"
    order=$((order + 1))
  done < <(module_closure "$@")
}

# Packs a directory as an initramfs, the names in a fixed order and without times, so that the
# same input gives the same bytes.
pack_initrd() {
  cd -- "$1" || return
  find . -exec touch --no-dereference --date=@0 {} +
  find . -print0 | LC_ALL=C sort -z |
    cpio --null --create --format=newc --quiet --owner=0:0 --reproducible
}
