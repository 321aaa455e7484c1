// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <vector>

#include "devices/tpm.h"
#include "vtpm/response.h"

namespace bulkhead::vtpm {

using Bytes = std::vector<std::byte>;

inline Bytes bytes_of(std::initializer_list<unsigned> values) {
  Bytes bytes;
  for (unsigned value : values) bytes.push_back(static_cast<std::byte>(value));
  return bytes;
}

// Commands of TPM 2.0 Part 3 as they go over the wire.
inline Bytes startup_command() {
  return bytes_of({0x80, 1, 0, 0, 0, 12, 0, 0, 1, 0x44, 0, 0});
}
inline Bytes get_random_command() {
  return bytes_of({0x80, 1, 0, 0, 0, 12, 0, 0, 1, 0x7b, 0, 16});
}
// TPM2_PCR_Read of one PCR below 24, SHA-256.
inline Bytes pcr_read_command(unsigned pcr) {
  const auto select = [pcr](unsigned byte) { return pcr / 8 == byte ? 1U << pcr % 8 : 0U; };
  return bytes_of({0x80, 1, 0, 0, 0, 20,   0, 0,         1,         0x7e,
                   0,    0, 0, 1, 0, 0x0b, 3, select(0), select(1), select(2)});
}
// TPM2_PCR_Extend of a PCR below 24, in the SHA-256 bank, with the digest 0…0.
inline Bytes pcr_extend_command(unsigned pcr) {
  Bytes command = bytes_of({0x80, 2,    0, 0, 0, 65, 0, 0, 1, 0x82, 0, 0, 0, pcr,  0, 0,   0,
                            9,    0x40, 0, 0, 9, 0,  0, 0, 0, 0,    0, 0, 0, 0x01, 0, 0x0b});
  command.resize(65);
  return command;
}
// TPM2_NV_DefineSpace of eight bytes, by the owner with an empty password.
inline Bytes nv_define_command(unsigned index) {
  return bytes_of({0x80, 2, 0, 0,    0,     45, 0,    0, 1, 0x2a, 0x40, 0, 0, 1, 0,
                   0,    0, 9, 0x40, 0,     0,  9,    0, 0, 0,    0,    0, 0, 0, 0,
                   14,   1, 0, 0,    index, 0,  0x0b, 0, 2, 0,    2,    0, 0, 0, 8});
}
// TPM2_NV_ReadPublic.
inline Bytes nv_read_public_command(unsigned index) {
  return bytes_of({0x80, 1, 0, 0, 0, 14, 0, 0, 1, 0x69, 1, 0, 0, index});
}
// TPM2_CreatePrimary of an RSA key in the null hierarchy: the slowest command there is.
inline Bytes create_primary_command() {
  return bytes_of({0x80, 2,    0, 0, 0,   0x41, 0, 0, 1,    0x31, 0x40, 0, 0,    7, 0,    0, 0,
                   9,    0x40, 0, 0, 9,   0,    0, 0, 0,    0,    0,    4, 0,    0, 0,    0, 0,
                   0x18, 0,    1, 0, 0xb, 0,    4, 4, 0x72, 0,    0,    0, 0x10, 0, 0x14, 0, 0xb,
                   8,    0,    0, 0, 0,   0,    0, 0, 0,    0,    0,    0, 0,    0});
}

inline Result<Bytes> run(Tpm& tpm, const Bytes& command, TpmLocality locality = TpmLocality::k0) {
  std::array<std::byte, kTpmBufferBytes> response;
  const std::size_t length = TRY(tpm.execute(locality, command, response));
  return Bytes(response.begin(), response.begin() + static_cast<std::ptrdiff_t>(length));
}

}  // namespace bulkhead::vtpm
