# SPDX-License-Identifier: Apache-2.0
"""Counts VM exits by the processor's reason (tracepoint kvm:kvm_exit), on the lab host."""
import re

TRACE = "/sys/kernel/tracing/events/kvm/kvm_exit"


def set_histogram(on):
    with open(f"{TRACE}/trigger", "w") as trigger:
        trigger.write(("" if on else "!") + "hist:keys=exit_reason.hex")


def read_histogram():
    reasons = {}
    with open(f"{TRACE}/hist") as hist:
        for line in hist:
            match = re.search(r"exit_reason:\s*(\w+)\s*}\s*hitcount:\s*(\d+)", line)
            if match:
                reasons[match.group(1)] = int(match.group(2))
    return reasons
