// SPDX-License-Identifier: Apache-2.0
#include "attest/der_reader.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "measure/tpm_wire.h"

namespace bulkhead {
namespace {

Bytes bytes(std::initializer_list<unsigned> values) {
  Bytes made;
  for (unsigned value : values) made.push_back(static_cast<std::byte>(value));
  return made;
}

// A tag, a length as given, and so many bytes.
Bytes element(std::initializer_list<unsigned> head, std::size_t content_bytes) {
  Bytes made = bytes(head);
  made.resize(made.size() + content_bytes, std::byte{0x11});
  return made;
}

std::size_t size_of_octets(const Bytes& der) {
  DerReader reader(der);
  const auto content = reader.take(DerTag::kOctetString);
  return content && reader.empty() ? content->size() : SIZE_MAX;
}

TEST(DerReader, TakesLengthsInTheirShortestForm) {
  EXPECT_EQ(size_of_octets(element({0x04, 0x00}, 0)), 0U);
  EXPECT_EQ(size_of_octets(element({0x04, 0x7f}, 127)), 127U);
  EXPECT_EQ(size_of_octets(element({0x04, 0x81, 0x80}, 128)), 128U);
  EXPECT_EQ(size_of_octets(element({0x04, 0x81, 0xff}, 255)), 255U);
  EXPECT_EQ(size_of_octets(element({0x04, 0x82, 0x01, 0x00}, 256)), 256U);
  EXPECT_EQ(size_of_octets(element({0x04, 0x82, 0xff, 0xff}, 65535)), 65535U);
}

TEST(DerReader, TakesNoOtherLengths) {
  EXPECT_EQ(size_of_octets(element({0x04, 0x81, 0x7f}, 127)), SIZE_MAX);
  EXPECT_EQ(size_of_octets(element({0x04, 0x82, 0x00, 0xff}, 255)), SIZE_MAX);
  EXPECT_EQ(size_of_octets(element({0x04, 0x83, 0x01, 0x00, 0x00}, 65536)), SIZE_MAX);
  EXPECT_EQ(size_of_octets(element({0x04, 0x80}, 2)), SIZE_MAX);  // indefinite
  EXPECT_EQ(size_of_octets(element({0x04, 0xff}, 255)), SIZE_MAX);
}

TEST(DerReader, StopsAtTheEnd) {
  const Bytes whole = element({0x04, 0x82, 0x01, 0x00}, 256);
  for (std::size_t size = 0; size < whole.size(); ++size) {
    DerReader reader{std::span(whole).first(size)};
    EXPECT_FALSE(reader.take(DerTag::kOctetString)) << size;
  }
}

TEST(DerReader, KnowsWhatIsNext) {
  const Bytes two = bytes({0x30, 0x03, 0x02, 0x01, 0x05, 0x06, 0x01, 0x2a});
  DerReader reader(two);
  EXPECT_FALSE(reader.take(DerTag::kSet));
  DerReader inner = reader.enter(DerTag::kSequence).value();
  EXPECT_TRUE(
      std::ranges::equal(inner.take_whole(DerTag::kInteger).value(), bytes({0x02, 0x01, 0x05})));
  EXPECT_TRUE(inner.expect_end());
  EXPECT_FALSE(inner.is_next(DerTag::kInteger));
  EXPECT_TRUE(reader.is_next(DerTag::kObjectIdentifier));
  EXPECT_FALSE(reader.expect_end());
}

TEST(DerReader, TakesNumbersInOneForm) {
  const auto number = [](std::initializer_list<unsigned> der) {
    const Bytes made = bytes(der);
    const auto content = DerReader(made).take_unsigned();
    return content ? copy_of(*content) : bytes({0xde, 0xad});
  };
  EXPECT_EQ(number({0x02, 0x01, 0x00}), bytes({0x00}));
  EXPECT_EQ(number({0x02, 0x01, 0x7f}), bytes({0x7f}));
  EXPECT_EQ(number({0x02, 0x02, 0x00, 0x80}), bytes({0x80}));
  for (auto der : {bytes({0x02, 0x00}), bytes({0x02, 0x01, 0x80}), bytes({0x02, 0x02, 0x00, 0x7f}),
                   bytes({0x02, 0x02, 0x00, 0x00})}) {
    EXPECT_FALSE(DerReader(der).take_unsigned());
  }
}

TEST(DerReader, TakesWholeOctetsOfBits) {
  const Bytes good = bytes({0x03, 0x02, 0x00, 0xa5});
  EXPECT_EQ(copy_of(DerReader(good).take_octets_of_bits().value()), bytes({0xa5}));
  for (auto der : {bytes({0x03, 0x00}), bytes({0x03, 0x02, 0x01, 0xa4})}) {
    EXPECT_FALSE(DerReader(der).take_octets_of_bits());
  }
}

TEST(DerReader, KnowsObjectIdentifiers) {
  EXPECT_TRUE(is_object_identifier(bytes({0x55, 0x04, 0x03})));
  EXPECT_TRUE(is_object_identifier(bytes({0x2a, 0x86, 0x48})));
  EXPECT_FALSE(is_object_identifier({}));
  EXPECT_FALSE(is_object_identifier(bytes({0x55, 0x84})));
  EXPECT_FALSE(is_object_identifier(bytes({0x55, 0x80, 0x03})));
  EXPECT_FALSE(is_object_identifier(bytes({0x80, 0x03})));
}

}  // namespace
}  // namespace bulkhead
