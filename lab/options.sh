# SPDX-License-Identifier: Apache-2.0
# The options of lab/run and their help. Sourced by it, never run.
# shellcheck shell=bash disable=SC2034,SC2154

memory=2G cpus=1 cpu_model=EPYC,-cx16,-xsave,-avx,-avx2,-fma,-f16c timeout=600
net=no numa=no tpm=no tpm_state='' icount=no threads=single verbose=no
append=() carved=() writable=() read_only=() environment=() extra_args=() command=()

usage() {
  cat <<EOF
Usage: bulkhead lab run [OPTION]... [--] COMMAND [ARGUMENT]...
Runs COMMAND as root on the lab host: a Debian kernel with a real /dev/kvm (AMD-V with nested
paging) in QEMU's software CPU. The command starts in the current directory and sees this
machine's files at their paths. What it writes goes to memory and is dropped, except below
build/ and what --rw names. Input, output, error output and exit status are the command's own.

  --memory SIZE      memory of the lab host, as 512M or 4G (default 2G)
  --cpus N           its processors (default 1, the safest: lab/README.md); they take turns
  --parallel         let them run at the same time
  --rw PATH          let the command change PATH of this machine (repeatable)
  --share PATH       show PATH as it is and changes meanwhile, read-only (repeatable); files are
                     visible without it, unless they are below /run
  --env NAME=VALUE   set an environment variable for the command (repeatable)
  --append STRING    add parameters for the host kernel (repeatable)
  --carve SIZE@ADDR  withhold memory from the host kernel, as 64M@0x50000000 (repeatable)
  --net              give the host user-mode networking
  --tpm              give the host a new TPM 2.0
  --tpm-state DIR    the same, but keep the TPM's state in DIR
  --device ARG       pass -device ARG to QEMU (repeatable)
  --qemu-arg ARG     pass ARG to QEMU (repeatable)
  --cpu MODEL        QEMU's CPU model (default $cpu_model)
  --icount           deterministic: one processor; a second is 10^9 of its instructions
  --timeout SECONDS  end the command after this time (default 600; 0: never)
  --verbose          tell how long things took, and keep the host kernel's log
  --help             this text

Exit status: that of the command, or $kExitUsage for wrong options, $kExitTimeout when the time
is up, $kExitLabFailed if the lab failed.
EOF
}

# Prints the absolute path of PATH, the value of OPTION.
existing_path() {
  local option=$1 path=$2
  [[ -e $path ]] || usage_error "$option: no such file or directory: $path"
  [[ $path != *$'\n'* ]] || usage_error "$option: a path with a line break cannot be shared"
  realpath -- "$path"
}

need_form() {
  local option=$1 value=$2 pattern=$3 description=$4
  [[ $value =~ ^($pattern)$ ]] || usage_error "$option: not $description: '$value'"
}

take_value() {
  local option=$1 value=$2
  case $option in
    --memory) need_form "$@" '[1-9][0-9]{0,5}[MG]' 'a size such as 512M or 4G'; memory=$value ;;
    --cpus) need_form "$@" '[1-9][0-9]?' 'a number from 1 to 99'; cpus=$value ;;
    --rw) writable+=("$(existing_path "$@")") ;;
    --share) read_only+=("$(existing_path "$@")") ;;
    --env) need_form "$@" $'[A-Za-z_][A-Za-z0-9_]*=.*' 'NAME=VALUE'; environment+=("$value") ;;
    --append) append+=("$value") ;;
    --carve)
      need_form "$@" '[1-9][0-9]*[KMG]@0x[0-9a-fA-F]+' 'SIZE@ADDR such as 64M@0x50000000'
      carved+=("memmap=${value%@*}\$${value#*@}") ;;
    --tpm-state) tpm=yes tpm_state=$(existing_path "$@") ;;
    --device) extra_args+=(-device "$value") ;;
    --qemu-arg) extra_args+=("$value") ;;
    --cpu) cpu_model=$value ;;
    --timeout) need_form "$@" '[0-9]{1,9}' 'a number of seconds'; timeout=$((10#$value)) ;;
    *) usage_error "unknown option: $option" ;;
  esac
}

parse_options() {
  while (($#)); do
    case $1 in
      --help | -h) usage; exit 0 ;;
      --net) net=yes ;;
      --numa) numa=yes ;;
      --tpm) tpm=yes ;;
      --icount) icount=yes ;;
      --parallel) threads=multi ;;
      --verbose) verbose=yes ;;
      --) shift; break ;;
      --*=*) take_value "${1%%=*}" "${1#*=}" ;;
      -*)
        (($# > 1)) || usage_error "unknown option, or one that needs a value: $1"
        take_value "$1" "$2"
        shift ;;
      *) break ;;
    esac
    shift
  done
  (($#)) || usage_error 'no command given'
  command=("$@")
  [[ $icount == no || $cpus$threads == 1single ]] || usage_error '--icount goes with one processor only'
}
