// SPDX-License-Identifier: Apache-2.0
// bulkhead-broker: releases secrets to partitions that prove what they are.
#include "broker/app.h"
#include "broker/policy_judge.h"

int main(int argc, char** argv) {
  using namespace bulkhead::broker;
  return run_program(argc, argv, PolicyJudge::create);
}
