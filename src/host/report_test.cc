// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <sstream>

#include "base/address.h"
#include "host/doctor.h"
#include "host/fake_root.h"

namespace bulkhead::host {
namespace {

Survey hardware() {
  FakeRoot fake;
  fake.add("/proc/cpuinfo", "vendor_id : GenuineIntel\nmodel name : Some CPU\nflags : vmx\n")
      .add("/dev/kvm")
      .add("/sys/module/kvm_intel/parameters/ept", "Y")
      .add("/proc/sys/kernel/osrelease", "6.12.0");
  Probes probes;
  probes.kvm = {.opens = true, .error = "", .max_vcpus = 16, .max_slots = 509};
  probes.sealed_memfd = true;
  return take_survey(fake.root(), probes);
}

TEST(ReportText, SaysTheVerdict) {
  std::string text = report_text(hardware(), true);
  EXPECT_NE(text.find("✓ KVM                     Intel VT-x\n"), std::string::npos) << text;
  EXPECT_NE(text.find("Kernel 6.12.0"), std::string::npos);
  EXPECT_NE(text.find("can get here: memfd"), std::string::npos);
  EXPECT_TRUE(text.ends_with("Verdict: partitions run here, on hardware KVM.\n"));
  EXPECT_TRUE(report_text(Survey(), true).ends_with("in the lab only.\n"));
}

TEST(ReportText, SaysWhatSealingHas) {
  Survey survey = hardware();
  const auto says = [&](const std::string& line) {
    return report_text(survey, false).find(line) != std::string::npos;
  };
  EXPECT_TRUE(says("- bulkheadd               does not answer\n"));
  EXPECT_TRUE(says("- userfaultfd             no\n"));
  EXPECT_TRUE(says("- memfd_secret            no: the host kernel can read keys\n"));
  survey.kernel.userfaultfd_device = true;
  EXPECT_TRUE(says("- userfaultfd             not for this user\n"));
  survey.kernel.userfault.works = true;
  EXPECT_TRUE(says("+ userfaultfd             yes, without protection\n"));
  survey.kernel.userfault.protects = true;
  EXPECT_TRUE(says("+ userfaultfd             yes\n"));
  survey.memory.memfd_secret = true;
  EXPECT_TRUE(says("+ memfd_secret            yes\n"));
  survey.memory.daemon = {
      .answers = true, .error = "", .pools = 2, .total_bytes = 3 * kGiB, .free_bytes = 512 * kMiB};
  EXPECT_TRUE(says("+ bulkheadd               answers, 512 MiB of 3.0 GiB free in 2 pools\n"));
}

TEST(ReportText, PlainMarksAreAscii) {
  for (const Survey& survey : {hardware(), Survey()}) {
    std::string text = report_text(survey, false);
    EXPECT_TRUE(std::ranges::all_of(text, [](unsigned char c) { return c < 0x80; })) << text;
  }
}

TEST(ReportText, FactsAreAligned) {
  std::istringstream lines(report_text(hardware(), false));
  for (std::string line; std::getline(lines, line);) {
    bool fact = line.starts_with("  + ") || line.starts_with("  - ") || line.starts_with("  ! ");
    if (!fact) continue;
    ASSERT_GT(line.size(), 28u) << line;
    EXPECT_EQ(line[27], ' ') << line;
    EXPECT_NE(line[28], ' ') << line;
  }
}

TEST(ReportJson, CarriesTheFacts) {
  auto json = nlohmann::json::parse(report_json(hardware()));
  EXPECT_EQ(json["version"], 1);
  EXPECT_EQ(json["hardware_kvm"], true);
  EXPECT_EQ(json["kvm"]["kind"], "vmx");
  EXPECT_EQ(json["kvm"]["nested_paging"], true);
  EXPECT_EQ(json["isolation"]["level"], "memfd");
  EXPECT_EQ(json["isolation"]["levels"].size(), 6u);
  EXPECT_TRUE(json["memory"]["lock_limit_bytes"].is_null());
  EXPECT_TRUE(json["advice"].is_array());
  EXPECT_EQ(json["memory"]["bulkheadd"]["answers"], false);
  EXPECT_EQ(json["kernel"]["userfaultfd_works"], false);
}

TEST(ReportJson, ForeignBytesDoNotBreakIt) {
  Survey survey = hardware();
  survey.cpu.model = "bad \xff\xfe \"quoted\"\n";
  survey.memory.carved = {"\x80"};
  auto json = nlohmann::json::parse(report_json(survey));
  EXPECT_NE(json["cpu"]["model"].get<std::string>().find("\"quoted\""), std::string::npos);
}

}  // namespace
}  // namespace bulkhead::host
