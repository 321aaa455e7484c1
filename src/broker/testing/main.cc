// SPDX-License-Identifier: Apache-2.0
// bulkhead-broker with a judge that believes what tests tell it.
#include "broker/app.h"
#include "broker/testing/scripted_judge.h"

int main(int argc, char** argv) {
  using namespace bulkhead::broker;
  return run_program(
      argc, argv, [](const TenantConfig& /*tenant*/) { return std::make_unique<ScriptedJudge>(); });
}
