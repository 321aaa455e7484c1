// SPDX-License-Identifier: Apache-2.0
// Counters in a host's TPM: swtpm.
#include <gtest/gtest.h>

#include "hostca/host_for_test.h"
#include "hostca/tpm/host_tpm.h"

namespace bulkhead::hostca {
namespace {

class TpmCounters : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!TpmMaker::is_installed()) GTEST_SKIP() << "no swtpm_setup here (package swtpm-tools)";
    maker_ = std::make_unique<TpmMaker>();
    running_ = std::make_unique<RunningTpm>(*maker_);
    open();
  }
  void open() {
    tpm_.reset();
    tpm_ = HostTpm::open(running_->where()).value();
  }
  static Bytes secret(unsigned seed) { return Bytes(32, static_cast<std::byte>(seed)); }

  std::unique_ptr<TpmMaker> maker_;
  std::unique_ptr<RunningTpm> running_;
  std::unique_ptr<HostTpm> tpm_;
};

TEST_F(TpmCounters, CountAndLast) {
  const CounterValue made = tpm_->make_counter(secret(1)).value();
  EXPECT_EQ(tpm_->read_counter(made.index, secret(1)).value(), made);
  const CounterValue next{made.index, made.value + 1};
  EXPECT_EQ(tpm_->step_counter(made.index, secret(1)).value(), next);
  open();
  EXPECT_EQ(tpm_->read_counter(made.index, secret(1)).value(), next);
}

TEST_F(TpmCounters, EachHasItsIndexAndSecret) {
  const CounterValue one = tpm_->make_counter(secret(1)).value();
  const CounterValue other = tpm_->make_counter(secret(2)).value();
  EXPECT_NE(one.index, other.index);
  EXPECT_EQ(tpm_->counters().value(), (std::vector{one.index, other.index}));
  EXPECT_FALSE(tpm_->read_counter(one.index, secret(2)));
  EXPECT_FALSE(tpm_->step_counter(one.index, secret(2)));
  EXPECT_FALSE(tpm_->read_counter(other.index + 1, secret(2)));
  EXPECT_EQ(tpm_->read_counter(one.index, secret(1)).value(), one);  // nothing was counted
}

// Removed and made anew under the same index, it does not begin anew.
TEST_F(TpmCounters, NeverGoBack) {
  CounterValue counter = tpm_->make_counter(secret(1)).value();
  for (int i = 0; i < 3; ++i) counter = tpm_->step_counter(counter.index, secret(1)).value();
  ASSERT_TRUE(tpm_->remove_counter(counter.index));
  EXPECT_FALSE(tpm_->read_counter(counter.index, secret(1)));
  EXPECT_FALSE(tpm_->remove_counter(counter.index));
  const CounterValue again = tpm_->make_counter(secret(1)).value();
  EXPECT_EQ(again.index, counter.index);
  EXPECT_GT(again.value, counter.value);
}

// What else is in the TPM is not ours to remove.
TEST_F(TpmCounters, OthersIndexesAreLeftAlone) {
  constexpr std::uint32_t kEkCertificate = 0x01c0000a;
  EXPECT_EQ(tpm_->remove_counter(kEkCertificate).error().code, Errc::kNotFound);
  EXPECT_FALSE(tpm_->read_counter(kEkCertificate, secret(1)));
}

TEST_F(TpmCounters, AFullTpmSaysSo) {
  Result<CounterValue> made = tpm_->make_counter(secret(1));
  for (unsigned i = 0; made && i < 200; ++i) made = tpm_->make_counter(secret(1));
  ASSERT_FALSE(made);
  EXPECT_NE(std::string(made.error().what).find("bulkhead host counters"), std::string::npos);
}

}  // namespace
}  // namespace bulkhead::hostca
