// SPDX-License-Identifier: Apache-2.0
// The token behind its process: keys that stay in it, tenants apart, and a process that comes back.
#include <gtest/gtest.h>
#include <signal.h>

#include "broker/resource_vault.h"
#include "broker/tenant.h"
#include "broker/testing/site.h"
#include "broker/token/pkcs11_module.h"
#include "broker/token/token_client.h"

namespace bulkhead::broker {
namespace {

class TokenTest : public testing::Test {
 protected:
  void SetUp() override {
    if (!Site::possible()) GTEST_SKIP() << "no softhsm2-util";
    site_ = std::make_unique<Site>();
    start();
  }
  void start(int answer_ms = 5000) {
    client_.reset();
    auto started = TokenClient::start(
        {.command = {BULKHEAD_TEST_BROKER, "--config", site_->config(), "token-process"},
         .answer_ms = answer_ms});
    ASSERT_TRUE(started) << started.error().what;
    client_ = std::move(started).value();
    ASSERT_TRUE(client_->make_keys("alice"));
    ASSERT_TRUE(client_->make_keys("bob"));
  }
  bool comes_back() {
    for (int i = 0; i < 500; ++i) {
      if (client_->unwrap("alice", wrapped_)) return true;
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    return false;
  }
  void wrap() {
    auto wrapped = client_->wrap("alice", *key_);
    ASSERT_TRUE(wrapped) << wrapped.error().what;
    wrapped_ = std::move(wrapped).value();
  }

  std::unique_ptr<Site> site_;
  std::unique_ptr<TokenClient> client_;
  Result<SecretBytes> key_ = SecretBytes::random(kResourceKeyBytes);
  Bytes wrapped_;
};

TEST_F(TokenTest, WrapsWithAKeyOfEachTenant) {
  wrap();
  EXPECT_EQ(wrapped_.size(), kResourceKeyBytes + 8);  // RFC 5649
  const auto back = client_->unwrap("alice", wrapped_);
  ASSERT_TRUE(back) << back.error().what;
  EXPECT_TRUE(constant_time_equal(back->bytes(), key_->bytes()));
  EXPECT_FALSE(client_->unwrap("bob", wrapped_)) << "another tenant's";
  EXPECT_EQ(client_->unwrap("carol", wrapped_).error().code, Errc::kNotFound);
  for (std::size_t i = 0; i < wrapped_.size(); ++i) {
    Bytes changed = wrapped_;
    changed[i] ^= std::byte{1};
    EXPECT_FALSE(client_->unwrap("alice", changed)) << i;
    changed.resize(i);
    EXPECT_FALSE(client_->unwrap("alice", changed)) << i;
  }
}

TEST_F(TokenTest, SignsWhatAnybodyCanVerify) {
  const auto point = client_->public_point("alice");
  ASSERT_TRUE(point) << point.error().what;
  const auto tenant =
      make_tenant({.name = "alice", .judge = {}, .sessions = {}, .rate = {}}, *point);
  ASSERT_TRUE(tenant);
  const auto signature = client_->sign("alice", *Sha256::of(bytes_of("text")));
  ASSERT_TRUE(signature) << signature.error().what;
  const std::span<const std::byte> all(*signature);
  const auto verify = [&](const char* text) {
    const auto good = (*tenant)->signing_key.verify({.scheme = SignatureScheme::kEcdsa,
                                                     .hash = HashAlgorithm::kSha256,
                                                     .first = all.first(32),
                                                     .second = all.last(32)},
                                                    bytes_of(text));
    return good && *good;
  };
  EXPECT_TRUE(verify("text"));
  EXPECT_FALSE(verify("test"));
  EXPECT_NE(*client_->public_point("bob"), *point);
}

TEST_F(TokenTest, KeysStayWhatTheyAre) {
  wrap();
  const Bytes point = *client_->public_point("alice");
  start();
  EXPECT_TRUE(client_->unwrap("alice", wrapped_));
  EXPECT_EQ(*client_->public_point("alice"), point);
}

// The token gives away neither key: asked directly, with the PIN.
TEST_F(TokenTest, KeysDoNotLeaveTheToken) {
  client_.reset();
  const auto module = Pkcs11Module::load("/usr/lib/softhsm/libsofthsm2.so");
  ASSERT_TRUE(module);
  const CK_FUNCTION_LIST& calls = module->calls();
  CK_SESSION_HANDLE session = 0;
  ASSERT_EQ(
      calls.C_OpenSession(*module->slot_of("site"), CKF_SERIAL_SESSION, nullptr, nullptr, &session),
      CKR_OK);
  unsigned char pin[] = "1234";
  ASSERT_EQ(calls.C_Login(session, CKU_USER, pin, 4), CKR_OK);
  ASSERT_EQ(calls.C_FindObjectsInit(session, nullptr, 0), CKR_OK);
  CK_OBJECT_HANDLE objects[16];
  CK_ULONG count = 0;
  ASSERT_EQ(calls.C_FindObjects(session, objects, 16, &count), CKR_OK);
  EXPECT_EQ(count, 6u);  // three of each tenant
  unsigned hidden = 0;
  for (CK_ULONG i = 0; i < count; ++i) {
    unsigned char value[256];
    CK_ATTRIBUTE wanted = {CKA_VALUE, value, sizeof value};
    if (calls.C_GetAttributeValue(session, objects[i], &wanted, 1) == CKR_ATTRIBUTE_SENSITIVE) {
      ++hidden;
    }
  }
  EXPECT_EQ(hidden, 4u);  // the public halves have no such thing
}

TEST_F(TokenTest, AProcessThatIsKilledComesBack) {
  wrap();
  ASSERT_TRUE(client_->unwrap("alice", wrapped_));
  for (int i = 0; i < 3; ++i) {
    const auto starts = client_->starts();
    const int id = client_->process_id();
    ASSERT_GT(id, 0);
    ASSERT_EQ(::kill(id, SIGKILL), 0);
    const auto refused = client_->unwrap("alice", wrapped_);
    EXPECT_FALSE(refused);
    EXPECT_TRUE(refused || refused.error().code == Errc::kBusy);
    ASSERT_TRUE(comes_back());
    EXPECT_EQ(client_->starts(), starts + 1);
    EXPECT_NE(client_->process_id(), id);
  }
}

TEST_F(TokenTest, AProcessThatHangsIsKilled) {
  start(200);
  wrap();
  const int id = client_->process_id();
  ASSERT_EQ(::kill(id, SIGSTOP), 0);
  const auto refused = client_->unwrap("alice", wrapped_);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Errc::kBusy);
  EXPECT_TRUE(comes_back());
  EXPECT_NE(client_->process_id(), id);
}

TEST_F(TokenTest, WhatIsWrongAtTheStartIsToldAtOnce) {
  client_.reset();
  site_->write("pin", "9999\n");
  const ShellResult wrong_pin = site_->run("init");
  EXPECT_EQ(wrong_pin.status, 1);
  EXPECT_NE(wrong_pin.out.find("does not take this PIN"), std::string::npos) << wrong_pin.out;
  site_->write("pin", "1234\n");
  EXPECT_EQ(site_->run("init").status, 0);
}

TEST(TokenMessages, AreWholeOrRefused) {
  const auto key = SecretBytes::random(32);
  const auto message = encode_request(
      {.operation = TokenOperation::kWrap, .tenant = "alice", .payload = key->bytes()});
  ASSERT_TRUE(message);
  const auto decoded = decode_request(message->bytes());
  ASSERT_TRUE(decoded);
  EXPECT_EQ(decoded->tenant, "alice");
  EXPECT_EQ(decoded->payload.size(), 32u);
  for (std::size_t i = 0; i < 7; ++i) EXPECT_FALSE(decode_request(message->bytes().first(i))) << i;
  EXPECT_FALSE(
      encode_request({.operation = TokenOperation::kSign, .tenant = "A/b", .payload = {}}));
  for (int first = 0; first < 256; ++first) {
    const std::byte answer[] = {static_cast<std::byte>(first)};
    EXPECT_FALSE(decode_answer(answer)) << first;
  }
}

}  // namespace
}  // namespace bulkhead::broker
