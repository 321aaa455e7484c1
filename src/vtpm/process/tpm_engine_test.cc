// SPDX-License-Identifier: Apache-2.0
#include "vtpm/process/tpm_engine.h"

#include <gtest/gtest.h>

#include "crypto/digest.h"
#include "vtpm/commands_for_test.h"

namespace bulkhead::vtpm {
namespace {

class TestKeeper final : public StateKeeper {
 public:
  Result<Bytes> load() override { return state; }
  Result<void> save(std::span<const std::byte> bytes) override {
    if (fails) return Error{Errc::kExhausted, 0, "the test's disk is full"};
    state.assign(bytes.begin(), bytes.end());
    ++saved;
    return {};
  }

  Bytes state;
  unsigned saved = 0;
  bool fails = false;
};

class VtpmEngine : public ::testing::Test {
 protected:
  void restart() {
    engine_.reset();
    engine_ = TpmEngine::create(keeper_).value();
    ASSERT_TRUE(engine_->init({}));
  }
  Bytes run(const Bytes& command, std::uint32_t locality = 0) {
    const auto response = engine_->execute(locality, command).value();
    CHECK(is_response(response));
    return {response.begin(), response.end()};
  }
  std::uint32_t code(const Bytes& command) { return response_code(run(command)); }
  // A PCR's value is the end of TPM2_PCR_Read's response.
  Bytes pcr(unsigned index) {
    const Bytes response = run(pcr_read_command(index));
    return {response.end() - 32, response.end()};
  }

  TestKeeper keeper_;
  std::unique_ptr<TpmEngine> engine_;
};

TEST_F(VtpmEngine, RunsCommandsAfterStartup) {
  restart();
  EXPECT_EQ(code(get_random_command()), 0x100U);  // TPM_RC_INITIALIZE
  EXPECT_EQ(code(startup_command()), 0U);
  EXPECT_EQ(code(get_random_command()), 0U);
  EXPECT_NE(run(get_random_command()), run(get_random_command()));
}

TEST_F(VtpmEngine, IsOneOfItsKind) {
  restart();
  EXPECT_EQ(TpmEngine::create(keeper_).error().code, Errc::kBusy);
}

TEST_F(VtpmEngine, RefusesWhatIsNoCommand) {
  engine_ = TpmEngine::create(keeper_).value();
  EXPECT_FALSE(engine_->execute(0, startup_command()));  // not powered on
  ASSERT_TRUE(engine_->init({}));
  EXPECT_FALSE(engine_->execute(kTpmLocalities, startup_command()));
  EXPECT_FALSE(engine_->execute(0, Bytes(kTpmBufferBytes + 1)));
  for (std::size_t length = 1; length < startup_command().size(); ++length) {
    Bytes cut = startup_command();
    cut.resize(length);
    EXPECT_NE(code(cut), 0U) << length;
  }
}

TEST_F(VtpmEngine, PermanentStateLastsAndIsSavedBeforeTheResponse) {
  restart();
  ASSERT_EQ(code(startup_command()), 0U);
  EXPECT_NE(code(nv_read_public_command(5)), 0U);
  const unsigned before = keeper_.saved;
  ASSERT_EQ(code(nv_define_command(5)), 0U);
  EXPECT_GT(keeper_.saved, before);
  restart();
  ASSERT_EQ(code(startup_command()), 0U);
  EXPECT_EQ(code(nv_read_public_command(5)), 0U);
}

TEST_F(VtpmEngine, AStateThatCannotBeSavedGivesNoResponse) {
  restart();
  ASSERT_EQ(code(startup_command()), 0U);
  keeper_.fails = true;
  EXPECT_EQ(engine_->execute(0, nv_define_command(6)).error().code, Errc::kExhausted);
  EXPECT_FALSE(engine_->execute(0, get_random_command()));  // nor does anything later
  keeper_.fails = false;
  EXPECT_EQ(code(get_random_command()), 0U);
  restart();
  ASSERT_EQ(code(startup_command()), 0U);
  EXPECT_EQ(code(nv_read_public_command(6)), 0U);
}

TEST_F(VtpmEngine, VolatileStateComesBackWithoutStartup) {
  restart();
  ASSERT_EQ(code(startup_command()), 0U);
  ASSERT_EQ(code(pcr_extend_command(0)), 0U);
  const Bytes before = pcr(0);
  EXPECT_NE(before, Bytes(32));
  const Bytes state = engine_->volatile_state().value();
  engine_.reset();
  engine_ = TpmEngine::create(keeper_).value();
  ASSERT_TRUE(engine_->init(state));
  EXPECT_EQ(pcr(0), before);
  EXPECT_EQ(code(get_random_command()), 0U);
}

TEST_F(VtpmEngine, DamagedVolatileStateIsRefused) {
  restart();
  ASSERT_EQ(code(startup_command()), 0U);
  Bytes state = engine_->volatile_state().value();
  state[state.size() / 2] ^= std::byte{1};
  EXPECT_FALSE(engine_->init(state));
  EXPECT_FALSE(engine_->init(bytes_of({1, 2, 3})));
  EXPECT_TRUE(engine_->init({}));
}

}  // namespace
}  // namespace bulkhead::vtpm
