# SPDX-License-Identifier: Apache-2.0
"""What decides about memory on the lab host: a cgroup with a limit, and encrypted swap on a RAM
disk."""
import os
import pathlib
import re
import subprocess
import time

CGROUPS = pathlib.Path("/sys/fs/cgroup")
DMSETUP = "/sbin/dmsetup"
RAM_DISK = "/dev/ram0"
CIPHER, KEY_BYTES = "aes-xts-plain64", 64


def shell(*command, text=None):
    return subprocess.run(command, check=True, input=text, text=True,
                          stdout=subprocess.PIPE).stdout.strip()


def prepare(swap_mib):
    """aesni_intel first: without udev nobody loads it, and the ciphers would be table lookups."""
    for module in ("aesni_intel", "xts", "dm-crypt"):
        shell("/sbin/modprobe", module)
    shell("/sbin/modprobe", "brd", "rd_nr=1", f"rd_size={swap_mib * 1024}")
    with open(RAM_DISK, "wb", buffering=0) as disk:  # so that no page of it is allocated later
        for _ in range(swap_mib):
            disk.write(bytes(1 << 20))
    (CGROUPS / "cgroup.subtree_control").write_text("+memory")


def cipher_driver(name):
    """Which implementation of a cipher the kernel prefers."""
    found = []
    for entry in pathlib.Path("/proc/crypto").read_text().split("\n\n"):
        fields = dict(re.findall(r"(\w+)\s*: (.+)", entry))
        if fields.get("name") == name:
            found.append((int(fields["priority"]), fields["driver"]))
    return max(found, default=(0, "none"))[1]


def counters():
    lines = pathlib.Path("/proc/vmstat").read_text().split("\n")
    fields = dict(line.split() for line in lines if line)
    return {name: int(fields[name]) for name in ("pswpin", "pswpout", "pgmajfault")}


class Swap:
    """Swap through dm-crypt, with a random key, on the RAM disk. `crypt`: options of dm-crypt."""

    def __init__(self, page_cluster, crypt):
        pathlib.Path("/proc/sys/vm/page-cluster").write_text(str(page_cluster))
        sectors = shell("/sbin/blockdev", "--getsz", RAM_DISK)
        table = f"0 {sectors} crypt {CIPHER} {os.urandom(KEY_BYTES).hex()} 0 {RAM_DISK} 0"
        if crypt:
            table += f" {len(crypt)} {' '.join(crypt)}"
        shell(DMSETUP, "create", "--noudevrules", "--noudevsync", "cold-swap", text=table)
        # Without udev nobody makes /dev/mapper/cold-swap.
        self.device = "/dev/" + shell(DMSETUP, "info", "--columns", "--noheadings",
                                      "--options", "blkdevname", "cold-swap")
        shell("/sbin/mkswap", self.device)
        shell("/sbin/swapon", self.device)

    def close(self):
        shell("/sbin/swapoff", self.device)
        shell(DMSETUP, "remove", "--noudevrules", "--noudevsync", "cold-swap")


class Group:
    """A cgroup; without a limit it only counts."""

    def __init__(self, limit_bytes):
        self.path = CGROUPS / "cold"
        self.path.mkdir()
        if limit_bytes is not None:
            (self.path / "memory.max").write_text(str(limit_bytes))

    def enter(self):
        (self.path / "cgroup.procs").write_text("0")

    def processes(self):
        return [int(line) for line in (self.path / "cgroup.procs").read_text().split()]

    def kill(self):
        (self.path / "cgroup.kill").write_text("1")

    def number(self, name):
        return int((self.path / name).read_text())

    def stat(self):
        lines = (self.path / "memory.stat").read_text().split("\n")
        return {name: int(value) for name, value in (line.split() for line in lines if line)}

    def close(self):
        for _ in range(100):  # its last process may still be going away
            try:
                self.path.rmdir()
                return
            except OSError:
                time.sleep(0.02)
        self.path.rmdir()


def memory_file_bytes(pids, size_bytes):
    """Pages of the memfd of this size that these processes hold, also those swapped out: the file
    is guest memory, whether mapped or not."""
    for pid in pids:
        try:
            numbers = os.listdir(f"/proc/{pid}/fd")
        except OSError:
            continue
        for number in numbers:
            path = f"/proc/{pid}/fd/{number}"
            try:
                if os.readlink(path).startswith("/memfd:"):
                    status = os.stat(path)
                    if status.st_size == size_bytes:
                        return status.st_blocks * 512
            except OSError:
                pass  # closed meanwhile
    return 0
