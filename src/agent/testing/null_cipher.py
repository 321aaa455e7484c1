#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""null_cipher.py IMAGE: what whoever provides a disk can do to a guest's. Rewrites its LUKS2 header
(on-disk format 1.1) so that all data from now on is "encrypted" with cipher_null. The key stays right."""
import hashlib
import json
import sys

BINARY_BYTES = 4096
CHECKSUM_AT = 448

with open(sys.argv[1], "r+b") as image:
    image.seek(8)
    size = int.from_bytes(image.read(8), "big")
    image.seek(BINARY_BYTES)
    metadata = json.loads(image.read(size - BINARY_BYTES).rstrip(b"\0"))
    metadata["segments"]["0"]["encryption"] = "cipher_null-ecb"
    area = json.dumps(metadata).encode().ljust(size - BINARY_BYTES, b"\0")
    for at in (0, size):  # there are two copies
        image.seek(at)
        header = bytearray(image.read(BINARY_BYTES))
        header[CHECKSUM_AT:CHECKSUM_AT + 64] = bytes(64)
        header[CHECKSUM_AT:CHECKSUM_AT + 32] = hashlib.sha256(bytes(header) + area).digest()
        image.seek(at)
        image.write(bytes(header) + area)
