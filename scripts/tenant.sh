# SPDX-License-Identifier: Apache-2.0
# A tenant, as the demonstration, tests and benchmarks need one: an encrypted disk, and a broker that
# gives its key to what the tenant measured. Sourced, after scripts/lib.sh.
#
# All is done in the current directory, where copies of the programs are.
# shellcheck shell=bash

# broker.key, and the certificate broker.pem of broker.example.
make_certificate() {
  openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out broker.key &&
    openssl req -x509 -key broker.key -days 2 -subj /CN=broker \
      -addext subjectAltName=DNS:broker.example -out broker.pem
}

# make_disk SIZE: disk, which is encrypted, and its disk.key.
make_disk() {
  head -c 32 /dev/urandom >disk.key && truncate -s "$1" disk &&
    cryptsetup luksFormat --type luks2 --batch-mode --pbkdf pbkdf2 --pbkdf-force-iterations 1000 \
      --key-file disk.key disk
}

# make_tenant DIRECTORY: both, in a new directory, before anybody else has the disk.
make_tenant() {
  rm -rf -- "$1" && mkdir -p -- "$1" && (cd -- "$1" && make_disk 32M && make_certificate)
}

# agent_initrd SCRIPT INITRD: prints INITRD with SCRIPT as /test, the agent and broker.pem.
agent_initrd() {
  mkdir -p root/bin && cp -- bulkhead-agent root/bin/ && cp -- broker.pem root/ &&
    install -m 755 -- "$1" root/test &&
    (cd root && find . -mindepth 1 | cpio --quiet --create --format=newc) && cat -- "$2"
}

# reference NAME OPTION...: measures what `bulkhead run OPTION...` would start.
reference() { ./bulkhead measure --reference "$1" "${@:2}" >"reference-$1"; }

broker() { ./bulkhead-broker --config broker.toml "$@"; }

# The broker's configuration, which trusts the host whose state is in host, and its token.
make_token() {
  mkdir -p tokens roots && cp -- host/certificates.pem roots/host.pem
  printf '%s\n' "directories.tokendir = $PWD/tokens" 'objectstore.backend = file' >softhsm2.conf
  export SOFTHSM2_CONF=$PWD/softhsm2.conf
  echo 1234 >pin
  cat >broker.toml <<'TOML'
version = 1
listen = "127.0.0.1:8443"
state = "state"
certificate = "broker.pem"
key = "broker.key"
[token]
module = "/usr/lib/softhsm/libsofthsm2.so"
label = "tenant"
pin-file = "pin"
[tenant.alice]
policy = "policy.toml"
trust = "roots"
TOML
  softhsm2-util --init-token --free --label tenant --pin 1234 --so-pin 5678
}
add_disk_key() { broker resource add alice default/disk/key disk.key; }
make_broker() { make_token && broker init && add_disk_key; }

# start_broker NAME: gives the disk's key to what was measured as NAME, and to nothing else, instead of
# a broker that ran before. It answers at port 8443 of the host for `--vsock $PWD/vsock,...`.
start_broker() {
  [[ -z ${broker_pid-} ]] || { kill "$broker_pid"; wait "$broker_pid"; }
  rm -f broker-log
  {
    printf '%s\n' 'version = 1' 'isolation = "memfd"' "references = [\"$1\"]" \
      '[secret."default/disk/key"]'
    cat reference-*
  } >policy.toml
  ./bulkhead-broker --config broker.toml serve >broker-log 2>&1 &
  broker_pid=$!
  [[ -n ${relay_pid-} ]] || {
    socat UNIX-LISTEN:vsock_8443,fork TCP:127.0.0.1:8443 2>relay-log &
    relay_pid=$!
  }
  until_true 60 grep -q ready broker-log
}
