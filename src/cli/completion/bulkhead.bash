# SPDX-License-Identifier: Apache-2.0
# bash completion for bulkhead: source it, or install it as
# /usr/share/bash-completion/completions/bulkhead.

_bulkhead_names() {
  bulkhead ps --json 2>/dev/null | sed -n 's/.*"name": "\([^"]*\)".*/\1/p'
}

_bulkhead_words() {
  mapfile -t COMPREPLY < <(compgen -W "$1" -- "$2")
}

# _bulkhead_run WORD PREVIOUS [OPTIONS BESIDES]
_bulkhead_run() {
  local word=$1 previous=$2
  case $previous in
    --kernel | --initrd | --disk | --config | --vsock | --key-file | --sealed-dir | --tpm-state | \
      --tpm-counter | --event-log)
      compopt -o filenames
      mapfile -t COMPREPLY < <(compgen -f -- "$word")
      ;;
    --backing) _bulkhead_words "memfd hugetlb carved" "$word" ;;
    --frames) _bulkhead_words "auto daemon private" "$word" ;;
    --tpm-counter-in) _bulkhead_words "auto tpm file" "$word" ;;
    --on-reboot) _bulkhead_words "restart exit" "$word" ;;
    --unpack) _bulkhead_words "auto never" "$word" ;;
    --net) _bulkhead_words "passt tap= none" "$word" ;;
    --debug) _bulkhead_words "exit-stats" "$word" ;;
    --memory | --cpus | --cmdline | --name | --watchdog-ms | --max-memory | --numa-node | --resident | \
      --reference) ;;
    *) _bulkhead_words "--kernel --initrd --disk --memory --cpus --net \
      --vsock --cmdline --cmdline-raw --name --detach --backing \
      --max-memory --frames --numa-node --resident --key-file --sealed-dir --seal-compress \
      --tpm --tpm-state --tpm-counter --tpm-counter-in \
      --lock-memory --on-reboot --unpack --no-balloon --no-rng --watchdog-ms \
      --verbose --debug \
      --config --help ${3-}" "$word" ;;
  esac
}

_bulkhead_ledger() {
  local word=$1 previous=$2
  if ((COMP_CWORD == 2)); then
    _bulkhead_words "show audit map --help" "$word"
  elif [[ $previous == --output ]]; then
    compopt -o filenames
    mapfile -t COMPREPLY < <(compgen -f -- "$word")
  elif [[ ${COMP_WORDS[2]} == map ]]; then
    _bulkhead_words "--output --text --help" "$word"
  else
    _bulkhead_words "--json --help" "$word"
  fi
}

_bulkhead_verify() {
  local word=$1 previous=$2
  case $previous in
    --evidence | --policy | --trust | --ear | --ear-key)
      compopt -o filenames
      mapfile -t COMPREPLY < <(compgen -f -- "$word")
      ;;
    --nonce | --nonce-time | --secret | --time) ;;
    *) _bulkhead_words "--evidence --policy --trust --nonce --nonce-time --secret --time --json \
      --ear --ear-key --help" "$word" ;;
  esac
}

_bulkhead_host() {
  local word=$1 previous=$2
  if ((COMP_CWORD == 2)); then
    _bulkhead_words "enrol show counters certify --help" "$word"
    return
  fi
  case $previous in
    --request | --grant | --authority-key | --authority-certificates | --tpm-roots | --state | --of)
      compopt -o filenames
      mapfile -t COMPREPLY < <(compgen -f -- "$word")
      return
      ;;
    --name | --days | --host-tpm | --remove) return ;;
  esac
  case ${COMP_WORDS[2]} in
    enrol) _bulkhead_words "--request --grant --software --name --host-tpm --state --help" "$word" ;;
    show) _bulkhead_words "--json --state --help" "$word" ;;
    counters) _bulkhead_words "--of --remove --host-tpm --help" "$word" ;;
    certify) _bulkhead_words "--request --grant --authority-key --authority-certificates \
      --tpm-roots --name --days --help" "$word" ;;
  esac
}

_bulkhead() {
  local word=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]}
  if ((COMP_CWORD == 1)); then
    _bulkhead_words "run measure verify ps stop console suspend resume resize shared key ledger host doctor lab version --help --version" "$word"
    return
  fi
  case ${COMP_WORDS[1]} in
    run) _bulkhead_run "$word" "$previous" ;;
    measure) _bulkhead_run "$word" "$previous" "--json --reference --event-log" ;;
    verify) _bulkhead_verify "$word" "$previous" ;;
    stop) _bulkhead_words "$(_bulkhead_names) --force --timeout --help" "$word" ;;
    suspend | resume) _bulkhead_words "$(_bulkhead_names) --help" "$word" ;;
    resize) _bulkhead_words "$(_bulkhead_names) --no-wait --help" "$word" ;;
    shared) _bulkhead_words "$(_bulkhead_names) --read --help" "$word" ;;
    key)
      if ((COMP_CWORD == 2)); then
        _bulkhead_words "create erase --help" "$word"
      else
        compopt -o filenames
        mapfile -t COMPREPLY < <(compgen -f -- "$word")
      fi
      ;;
    console) _bulkhead_words "$(_bulkhead_names) --help" "$word" ;;
    host) _bulkhead_host "$word" "$previous" ;;
    ledger) _bulkhead_ledger "$word" "$previous" ;;
    ps | doctor) _bulkhead_words "--json --help" "$word" ;;
    lab) if ((COMP_CWORD == 2)); then _bulkhead_words "run setup --help" "$word"; fi ;;
  esac
}

complete -F _bulkhead bulkhead
