# SPDX-License-Identifier: Apache-2.0
# What the tests of booting partitions share. Sourced first by each; enter_lab then takes the test
# to the lab host, where the rest of it runs.
#
# A test is a list of checks. A check that fails tells what the last partition said, and the test
# goes on; `verdict` ends it. Environment: BULKHEAD_BIN, the directory with the programs to test.
# shellcheck shell=bash disable=SC2034  # the tests use the variables

. "$(dirname -- "${BASH_SOURCE[0]}")/../../scripts/lib.sh"
PATH=$PATH:/usr/sbin:/sbin

bin_dir=${BULKHEAD_BIN:-$build_root/release/bin}
bulkhead=$bin_dir/bulkhead
bzimage=$build_root/lab/kernel/vmlinuz
vmlinux=$build_root/lab/kernel/vmlinux
initrd=$build_root/lab/guest-initrd
debian=$build_root/images/debian.ext4
guest_dir=$project_dir/tests/lab/guest

readonly kBootLimit=150  # seconds; a boot takes 4 to 20 here, several times that beside other work

# enter_lab [OPTION OF lab/run]...: continues this test on the lab host, in an empty directory, with
# the programs copied there (files of this machine come slowly) and all temporary places empty.
enter_lab() {
  local place
  if [[ -z ${BULKHEAD_IN_LAB-} ]]; then
    [[ -x $bulkhead ]] || { echo "no $bulkhead: build it first"; exit 1; }
    as_root "$project_dir/lab/run" --env BULKHEAD_IN_LAB=1 --env BULKHEAD_BIN="$bin_dir" "$@" \
      -- "$(realpath -- "$0")"
    exit
  fi
  work=/run/test console=/run/test/console errors=/run/test/errors status=''
  mkdir -- "$work"
  cd -- "$work" || exit 1
  : >"$console"
  : >"$errors"
  cp -- "$bin_dir"/bulkhead* "$bin_dir"/../lab-programs/* . || exit 1
  bulkhead=$work/bulkhead
  for place in /tmp /var/tmp /root; do
    if [[ $project_dir/ == "$place"/* ]]; then empty_around_project "$place"; else empty "$place"; fi
  done
  rm -rf /var/cache/bulkhead
}

empty() { mount -t tmpfs -o mode=1777 test "$1"; }
# Of what is below PLACE, only the project is left.
empty_around_project() {
  mkdir -- "$work.project"
  mount --rbind -- "$project_dir" "$work.project"
  empty "$1"
  mkdir -p -- "$project_dir"
  mount --rbind -- "$work.project" "$project_dir"
}

passed=0
failed=0

section() { printf -- '-- %s (at %d s)\n' "$1" "$SECONDS"; }

# check TITLE COMMAND...
check() {
  local title=$1
  shift
  if "$@"; then
    passed=$((passed + 1))
    printf 'ok      %s\n' "$title"
  else
    failed=$((failed + 1))
    printf 'FAILED  %s\n        %s\n' "$title" "$*"
    tail -n 25 -- "$console" | tr -d '\r' | sed 's/^/        console: /'
    tail -n 10 -- "$errors" | sed 's/^/        errors:  /'
  fi
}

# Ends the test: successfully only if there were checks, and none failed.
verdict() {
  printf '%d checks passed, %d failed, in %d s\n' "$passed" "$failed" "$SECONDS"
  ((failed == 0 && passed > 0))
  exit
}

is() { [[ $1 == "$2" ]] || { printf '        is %q, expected %q\n' "$1" "$2"; return 1; }; }
differ() { [[ -n $1 && -n $2 && $1 != "$2" ]] || { printf '        both are %q\n' "$1"; return 1; }; }
between() {
  [[ $1 =~ ^[0-9]+$ ]] && (($1 >= $2 && $1 <= $3)) ||
    { printf '        is %q, expected %d to %d\n' "$1" "$2" "$3"; return 1; }
}
succeeds() { "$@" >/dev/null 2>&1; }
fails() { ! "$@" >/dev/null 2>&1; }

# --- guests ---

# initrd_with SCRIPT: prints the path of the guest initrd with tests/lab/guest/SCRIPT as /test, and
# the programs of ours that it names in /bin.
initrd_with() {
  local file=$work/initrd-$1 dir program
  if [[ ! -e $file ]]; then
    dir=$(mktemp -d)
    install -m 755 -- "$guest_dir/$1" "$dir/test"
    mkdir -- "$dir/bin"
    for program in bulkhead-grant plant-canaries; do
      ! grep -q "$program" "$guest_dir/$1" || cp -- "$work/$program" "$dir/bin/"
    done
    (cd -- "$dir" && find test bin | cpio --quiet --create --format=newc) >"$file"
    cat -- "$initrd" >>"$file"
    rm -r -- "$dir"
  fi
  printf '%s\n' "$file"
}

# run_to_end OPTION...: runs a partition to its end. Sets status; its output is in $console and
# $errors.
run_to_end() {
  status=0
  timeout --kill-after=10 "$kBootLimit" "$bulkhead" run --name test "$@" \
    </dev/null >"$console" 2>"$errors" || status=$?
}

# partition SCRIPT 'PARAMETERS' [OPTION]...: the same for a small guest that runs the guest script,
# with kernel parameters. The kernel can be set with `kernel=FILE partition ...`.
partition() {
  local script=$1 parameters=$2
  shift 2
  run_to_end --kernel "${kernel:-$bzimage}" --initrd "$(initrd_with "$script")" \
    --cmdline "quiet modules cmd=/test $parameters" "$@"
}

# start_partition SCRIPT 'PARAMETERS' [OPTION]...: the same in the background. Sets vmm_pid; what is
# written to descriptor 7 is typed on its console.
start_partition() {
  local script=$1 parameters=$2
  shift 2
  [[ -p $work/keys ]] || mkfifo -- "$work/keys"
  : >"$console"
  "$bulkhead" run --name test --kernel "${kernel:-$bzimage}" --initrd "$(initrd_with "$script")" \
    --cmdline "quiet modules cmd=/test $parameters" "$@" <"$work/keys" >"$console" 2>"$errors" &
  vmm_pid=$!
  exec 7>"$work/keys"
}

# Waits for the end of what start_partition started; sets status.
await_end() {
  status=0
  until_true "$kBootLimit" fails kill -0 "$vmm_pid" || kill -KILL "$vmm_pid"
  wait "$vmm_pid" || status=$?
  exec 7>&-
}

# kill -9, without the shell's remark on it.
kill_monitor() {
  {
    kill -KILL "$vmm_pid"
    await_end
  } 2>/dev/null
}

type_line() { printf '%s\n' "$*" >&7; }

# said KEY: what the guest said of KEY last (lines of the form KEY=VALUE).
said() { tr -d '\r' <"$console" | sed -n "s/^$1=//p" | tail -n 1; }
says() { grep -qa -- "$1" "$console"; }
# await_line TEXT [SECONDS]
await_line() { until_true "${2:-$kBootLimit}" says "$1"; }

# The guest's kernel and scripts had nothing to complain about.
healthy() {
  ! grep -aE 'BULKHEAD-ERROR|BUG:|Oops|WARNING: CPU|Call Trace|Tainted|rcu:.*stall|soft lockup|I/O error' "$console"
}

# --- an ordinary user ---

# The user nobody gets files of its own, and what an administrator would give: access to /dev/kvm.
prepare_nobody() {
  chmod 666 /dev/kvm
  mkdir user
  cp -- "$bzimage" user/kernel
  export XDG_RUNTIME_DIR=$work/user XDG_CACHE_HOME=$work/user
  chown -R nobody user
}
as_nobody() { setpriv --reuid=nobody --regid=nogroup --clear-groups -- "$@"; }

# --- what is left behind ---

# Processes, files and virtual machines that partitions could leave behind.
leftovers() {
  pgrep -l 'bulkhead|passt'
  find /run/bulkhead /dev/shm /tmp /var/tmp /root -mindepth 1 2>/dev/null | outside_project
  find /sys/kernel/debug/kvm -mindepth 1 -type d
  find /var/cache/bulkhead -name '*.tmp' 2>/dev/null
}
# Of the paths given, those that are neither in the project nor on the way to it.
outside_project() {
  awk -v project="$project_dir/" 'index($0 "/", project) != 1 && index(project, $0 "/") != 1'
}
nothing_left() { is "$(leftovers)" ''; }
# Also of nobody's partitions, whose cache may stay.
nothing_left_of_nobody() { nothing_left && is "$(find user/bulkhead -mindepth 1 -not -name '*kernel' -not -name '*index')" ''; }
