# SPDX-License-Identifier: Apache-2.0
# Composes QEMU's command line for the lab host. Sourced by lab/run, never run.
# shellcheck shell=bash disable=SC2054,SC2154  # QEMU's options hold commas; lab/run sets variables

# Commas separate QEMU's options, and are doubled inside one.
escape() { printf '%s' "${1//,/,,}"; }

# The frequency of the lab's TSC in kHz: this machine's own, half of its bogomips. Left to
# measure it on a busy machine, the kernel is wrong by any factor, and so are its clocks.
tsc_khz() {
  if [[ $icount == yes ]]; then
    echo 1000000
  else
    awk '/^bogomips/ { printf "%d", $3 * 500; exit }' /proc/cpuinfo
  fi
}

host_parameters() {
  # An idle processor would let QEMU's virtual clock jump to the next timer, by any amount, while
  # it waits for this machine; one that polls makes time the count of instructions and nothing else.
  [[ $icount == no ]] || printf 'idle=poll '
  printf '%s ' "tsc_early_khz=$(tsc_khz)" tsc=reliable console=ttyS0 quiet loglevel=5 panic=-1 \
    oops=panic nokaslr mitigations=off random.trust_cpu=on nowatchdog no_timer_check \
    cryptomgr.notests "${carved[@]}" "${append[@]}"
}

# QEMU puts the initrd where the ACPI tables end up once a TPM's log makes them larger: then we
# choose the place, above the kernel. That is taken from the kernel's memory, for the kernel does
# not reserve what initrdmem= names; it copies the initrd.
add_kernel() {
  local address=0x8000000 size parameters
  parameters=$(host_parameters)
  if [[ $tpm == no ]]; then
    qemu+=(-initrd "$host_initrd")
  else
    size=$(stat --format=%s -- "$host_initrd")
    parameters+="initrdmem=$address,$size memmap=$(((size + 4095) & ~4095))\$$address"
    qemu+=(-device "loader,file=$(escape "$host_initrd"),addr=$address,force-raw=on")
  fi
  qemu+=(-kernel "$kernel_dir/vmlinux" -append "$parameters")
}

# Adds a virtio-serial port NAME that ends at the file descriptor FD.
add_port() {
  local name=$1 fd=$2
  qemu+=(-add-fd "fd=$fd,set=$fd" -chardev "file,id=$name,append=on,path=/dev/fdset/$fd"
    -device "virtserialport,chardev=$name,name=$name")
}

# In one piece, or as two NUMA nodes, the first of which has the processors.
add_memory() {
  local node half
  if [[ $numa == no ]]; then
    qemu+=(-machine memory-backend=ram -object "memory-backend-memfd,id=ram,size=$memory,share=on")
    return
  fi
  half=$(($(numfmt --from=iec "$memory") / 2))
  for node in 0 1; do
    qemu+=(-object "memory-backend-memfd,id=ram$node,size=$half,share=on"
      -numa "node,nodeid=$node,memdev=ram$node")
  done
}

compose_qemu() {
  qemu=(qemu-system-x86_64 -name lab -no-user-config -nodefaults -no-reboot -display none
    -machine q35,vmport=off -cpu "$cpu_model" -smp "$cpus" -m "$memory"
    -chardev "file,id=log,append=on,path=$(escape "$log")" -serial chardev:log
    -chardev "socket,id=files,path=$scratch/files.sock"
    -device vhost-user-fs-pci,chardev=files,tag=lab
    -chardev stdio,id=stdin,signal=off
    -device virtio-serial-pci,ioeventfd=off -device virtserialport,chardev=stdin,name=stdin)
  add_memory
  add_kernel
  add_port stdout "$out_fd"
  add_port stderr "$err_fd"
  add_port status 3
  [[ $icount == yes ]] || qemu+=(-chardev "pipe,id=beat,path=$scratch/beat"
    -device virtserialport,chardev=beat,name=beat)
  qemu+=(-accel "tcg,thread=$threads")
  [[ $icount == no ]] || qemu+=(-icount shift=0,sleep=off -seed 1
    -rtc base=2035-01-01T00:00:00,clock=vm)  # later than any file: caches judge by age
  [[ $net == no ]] || qemu+=(-netdev user,id=net -device virtio-net-pci,netdev=net)
  [[ $tpm == no ]] || qemu+=(-chardev "socket,id=tpm,path=$scratch/tpm.sock"
    -tpmdev emulator,id=tpm,chardev=tpm -device tpm-crb,tpmdev=tpm)
  qemu+=("${extra_args[@]}")
}
