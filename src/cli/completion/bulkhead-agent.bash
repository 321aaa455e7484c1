# SPDX-License-Identifier: Apache-2.0
# bash completion for bulkhead-agent: source it, or install it as
# /usr/share/bash-completion/completions/bulkhead-agent.

_bulkhead_agent() {
  local word=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]} words=''
  case $previous in
    --ca | --tpm | --event-log | unlock)
      compopt -o filenames
      mapfile -t COMPREPLY < <(compgen -f -- "$word")
      return
      ;;
    --broker) words='tcp: vsock:2:' ;;
    --server-name | --tenant | --timeout | --pcrs | --fd | --nonce) return ;;
    *)
      case ${COMP_WORDS[1]} in
        get) words='--broker --ca --server-name --tenant --timeout --tpm --event-log --pcrs --fd --help' ;;
        unlock) words='--broker --ca --server-name --tenant --timeout --tpm --event-log --pcrs --help' ;;
        evidence) words='--nonce --tpm --event-log --pcrs --help' ;;
      esac
      ;;
  esac
  ((COMP_CWORD > 1)) || words='get unlock evidence --help --version'
  mapfile -t COMPREPLY < <(compgen -W "$words" -- "$word")
}

complete -F _bulkhead_agent bulkhead-agent
