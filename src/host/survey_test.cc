// SPDX-License-Identifier: Apache-2.0
#include "host/survey.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "base/address.h"
#include "host/doctor.h"
#include "host/fake_root.h"

namespace bulkhead::host {
namespace {

std::string cpuinfo(std::string_view flags) {
  return "processor\t: 0\nvendor_id\t: AuthenticAMD\nmodel name\t: Test CPU\nflags\t\t: fpu " +
         std::string(flags) + "\n\nprocessor\t: 1\n";
}

Probes good_probes() {
  Probes probes;
  probes.kvm = {.opens = true, .error = "", .max_vcpus = 1024, .max_slots = 32764};
  probes.sealed_memfd = true;
  probes.memfd_secret = true;
  probes.userfault = {.works = true, .error = "", .protects = true};
  probes.daemon.answers = true;
  probes.io_uring = true;
  probes.landlock_abi = 4;
  probes.seccomp = true;
  return probes;
}

Probes closed_probes(std::string error) {
  Probes probes = good_probes();
  probes.kvm = {.opens = false, .error = std::move(error)};
  return probes;
}

const IsolationLevel& rung(const Survey& survey, Isolation level) {
  return *std::ranges::find(survey.ladder, level, &IsolationLevel::level);
}

bool advises(const Survey& survey, std::string_view text) {
  return std::ranges::any_of(survey.advice, [&](const std::string& advice) {
    return advice.find(text) != std::string::npos;
  });
}

TEST(KvmSurvey, AmdWithNestedPaging) {
  FakeRoot fake;
  fake.add("/proc/cpuinfo", cpuinfo("svm npt"))
      .add("/dev/kvm")
      .add("/sys/module/kvm_amd/parameters/npt", "Y\n")
      .add("/sys/module/kvm_amd/parameters/nested", "1\n");
  Survey survey = take_survey(fake.root(), good_probes());
  EXPECT_EQ(survey.kvm.kind, KvmKind::kSvm);
  EXPECT_TRUE(survey.kvm.usable);
  EXPECT_TRUE(survey.kvm.nested_paging);
  EXPECT_TRUE(survey.kvm.nested_guests);
  EXPECT_EQ(survey.kvm.reason, "");
  EXPECT_EQ(doctor_exit_code(survey), kDoctorHardware);
  EXPECT_TRUE(survey.advice.empty() || !advises(survey, "lab"));
}

TEST(KvmSurvey, IntelWithoutNestedPagingIsSlow) {
  FakeRoot fake;
  fake.add("/proc/cpuinfo", cpuinfo("vmx"))
      .add("/dev/kvm")
      .add("/sys/module/kvm_intel/parameters/ept", "N\n");
  Survey survey = take_survey(fake.root(), good_probes());
  EXPECT_EQ(survey.kvm.kind, KvmKind::kVmx);
  EXPECT_FALSE(survey.kvm.nested_paging);
  EXPECT_TRUE(advises(survey, "nested paging"));
}

TEST(KvmSurvey, FlagsAreWholeWords) {
  FakeRoot fake;
  fake.add("/proc/cpuinfo", cpuinfo("svm_lock vmx_flags xsvm"));
  EXPECT_EQ(take_survey(fake.root(), closed_probes("x")).kvm.kind, KvmKind::kNone);
}

TEST(KvmSurvey, ParavirtualDoesNotCount) {
  FakeRoot fake;
  fake.add("/proc/cpuinfo", cpuinfo("avx")).add("/dev/kvm");
  Survey survey = take_survey(fake.root(), good_probes());
  EXPECT_EQ(survey.kvm.kind, KvmKind::kParavirtual);
  EXPECT_FALSE(survey.kvm.usable);
  EXPECT_NE(survey.kvm.reason, "");
  EXPECT_EQ(doctor_exit_code(survey), kDoctorLabOnly);
  EXPECT_TRUE(advises(survey, "bulkhead lab run"));
}

TEST(KvmSurvey, NoPermissionIsSaid) {
  FakeRoot fake;
  fake.add("/proc/cpuinfo", cpuinfo("svm")).add("/dev/kvm").add("/sys/module/kvm_amd/version");
  Survey survey = take_survey(fake.root(), closed_probes("no permission, said KVM"));
  EXPECT_EQ(survey.kvm.reason, "no permission, said KVM");
  EXPECT_EQ(doctor_exit_code(survey), kDoctorLabOnly);
  EXPECT_TRUE(advises(survey, "no permission"));
}

TEST(KvmSurvey, ModuleNotLoaded) {
  FakeRoot fake;
  fake.add("/proc/cpuinfo", cpuinfo("vmx"));
  Survey survey = take_survey(fake.root(), closed_probes("x"));
  EXPECT_EQ(survey.kvm.reason, "the module kvm_intel is not loaded");
}

TEST(KvmSurvey, EmptyMachine) {
  FakeRoot fake;
  Survey survey = take_survey(fake.root(), Probes());
  EXPECT_EQ(survey.kvm.kind, KvmKind::kNone);
  EXPECT_EQ(survey.isolation, Isolation::kNone);
  EXPECT_EQ(survey.cpu.threads, 0u);
  EXPECT_EQ(doctor_exit_code(survey), kDoctorLabOnly);
}

TEST(CpuSurvey, ModelThreadsAndVulnerabilities) {
  FakeRoot fake;
  fake.add("/proc/cpuinfo", cpuinfo("svm"))
      .add("/sys/devices/system/cpu/smt/control", "on\n")
      .add("/sys/devices/system/cpu/smt/active", "1\n")
      .add("/sys/devices/system/cpu/vulnerabilities/mds", "Vulnerable: no microcode\n")
      .add("/sys/devices/system/cpu/vulnerabilities/l1tf", "Not affected\n");
  Survey survey = take_survey(fake.root(), good_probes());
  EXPECT_EQ(survey.cpu.model, "Test CPU");
  EXPECT_EQ(survey.cpu.threads, 2u) << "counted in cpuinfo";
  EXPECT_EQ(survey.cpu.smt, "on");
  ASSERT_EQ(survey.cpu.vulnerabilities.size(), 2u);
  EXPECT_TRUE(advises(survey, "vulnerable to mds."));
  EXPECT_FALSE(advises(survey, "l1tf"));
  EXPECT_TRUE(advises(survey, "SMT"));
}

TEST(CpuSurvey, OfflineProcessorsDoNotCount) {
  FakeRoot fake;
  fake.add("/sys/devices/system/cpu/cpu0/uevent")
      .add("/sys/devices/system/cpu/cpu1/online", "0\n")
      .add("/sys/devices/system/cpu/cpu2/online", "1\n")
      .add("/sys/devices/system/cpu/cpufreq/x");
  EXPECT_EQ(take_survey(fake.root(), Probes()).cpu.threads, 2u);
}

TEST(MemorySurvey, SizesPoolsAndPolicy) {
  FakeRoot fake;
  fake.add("/proc/meminfo", "MemTotal:  1024 kB\nMemAvailable: 512 kB\nSwapTotal: 4 kB\n")
      .add("/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages", "64\n")
      .add("/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages", "40\n")
      .add("/sys/kernel/mm/transparent_hugepage/shmem_enabled", "always [advise] never\n")
      .add("/sys/kernel/mm/ksm/run", "1\n");
  Survey survey = take_survey(fake.root(), good_probes());
  EXPECT_EQ(survey.memory.total_bytes, kMiB);
  EXPECT_EQ(survey.memory.available_bytes, 512 * kKiB);
  EXPECT_EQ(survey.memory.huge_2m.free, 40u);
  EXPECT_EQ(survey.memory.huge_1g.total, 0u);
  EXPECT_EQ(survey.memory.shmem_huge, "advise");
  EXPECT_TRUE(survey.memory.ksm);
  EXPECT_TRUE(advises(survey, "Swap is on"));
  EXPECT_EQ(survey.isolation, Isolation::kHugetlb);
}

TEST(MemorySurvey, CarvedRangesAreThoseWithADollar) {
  FakeRoot fake;
  fake.add("/proc/cmdline",
           "quiet memmap=64M$0x50000000 memmap=1G@4G memmap=2G\\$8G xmemmap=1$2\n");
  Survey survey = take_survey(fake.root(), good_probes());
  EXPECT_EQ(survey.memory.carved, (std::vector<std::string>{"64M$0x50000000", "2G\\$8G"}));
}

TEST(Isolation, LevelIsTheHighestThatIsInUse) {
  FakeRoot fake;
  fake.add("/proc/cmdline", "memmap=64M$0x50000000");
  Probes probes = good_probes();
  probes.kvm.guest_memfd = true;
  Survey survey = take_survey(fake.root(), probes);
  EXPECT_EQ(survey.isolation, Isolation::kMemfd);
  EXPECT_NE(rung(survey, Isolation::kHugetlb).reason, "");
  EXPECT_TRUE(rung(survey, Isolation::kCarved).host_ready);
  EXPECT_FALSE(rung(survey, Isolation::kCarved).available);
  EXPECT_FALSE(rung(survey, Isolation::kGmem).host_ready) << "guest_memfd, but not mappable";
  EXPECT_TRUE(advises(survey, "--backing hugetlb"));
}

TEST(Isolation, CarvedTakesADaemonThatGivesIt) {
  FakeRoot fake;
  fake.add("/proc/cmdline", "memmap=64M$0x50000000");
  Probes probes = good_probes();
  EXPECT_NE(rung(take_survey(fake.root(), probes), Isolation::kCarved).reason.find("a carved pool"),
            std::string::npos);
  probes.daemon.carved_free_bytes = 62 * kMiB;
  EXPECT_FALSE(rung(take_survey(fake.root(), probes), Isolation::kCarved).available);
  probes.daemon.carved_free_bytes = 64 * kMiB;
  EXPECT_EQ(take_survey(fake.root(), probes).isolation, Isolation::kCarved);
  EXPECT_FALSE(rung(take_survey(FakeRoot().root(), probes), Isolation::kCarved).available);
}

TEST(Isolation, SmallCarvedRangesDoNotSuffice) {
  FakeRoot fake;
  fake.add("/proc/cmdline", "memmap=63M$0x50000000 memmap=5705728$0x8000000");
  Survey survey = take_survey(fake.root(), good_probes());
  EXPECT_EQ(survey.memory.carved_largest_bytes, 63 * kMiB);
  EXPECT_FALSE(rung(survey, Isolation::kCarved).host_ready);
}

TEST(Isolation, FewFreeHugePagesDoNotSuffice) {
  FakeRoot fake;
  fake.add("/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages", "64")
      .add("/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages", "31");
  EXPECT_EQ(take_survey(fake.root(), good_probes()).isolation, Isolation::kMemfd);
}

TEST(Isolation, ConfidentialLevelsNeedProcessorModuleAndDevice) {
  FakeRoot fake;
  fake.add("/proc/cpuinfo", cpuinfo("svm sev sev_es sev_snp"))
      .add("/sys/module/kvm_amd/parameters/sev_snp", "Y");
  EXPECT_EQ(rung(take_survey(fake.root(), good_probes()), Isolation::kSnp).reason,
            "there is no /dev/sev");
  fake.add("/dev/sev");
  EXPECT_TRUE(rung(take_survey(fake.root(), good_probes()), Isolation::kSnp).host_ready);
  EXPECT_FALSE(rung(take_survey(fake.root(), good_probes()), Isolation::kTdx).host_ready);
}

TEST(PlatformSurvey, IommuTpmAndQos) {
  FakeRoot fake;
  fake.add("/proc/cpuinfo", cpuinfo("cat_l3 mba"))
      .add("/sys/class/iommu/dmar0/x")
      .add("/sys/kernel/iommu_groups/0/x")
      .add("/sys/kernel/iommu_groups/1/x")
      .add("/dev/tpm0")
      .add("/sys/class/tpm/tpm0/tpm_version_major", "2\n");
  PlatformSurvey platform = take_survey(fake.root(), good_probes()).platform;
  EXPECT_EQ(platform.iommus, std::vector<std::string>{"dmar0"});
  EXPECT_EQ(platform.iommu_groups, 2u);
  EXPECT_TRUE(platform.tpm_device);
  EXPECT_FALSE(platform.tpm_resource_manager);
  EXPECT_EQ(platform.tpm_version, 2);
  EXPECT_TRUE(platform.qos.l3_allocation);
  EXPECT_TRUE(platform.qos.bandwidth_allocation);
  EXPECT_FALSE(platform.qos.l2_allocation);
}

TEST(KernelSurvey, WhatIsMissingIsAdvised) {
  FakeRoot fake;
  fake.add("/proc/sys/kernel/osrelease", "6.12.1\n").add("/proc/sys/kernel/io_uring_disabled", "2");
  Probes probes = good_probes();
  probes.io_uring = false;
  probes.landlock_abi = 0;
  Survey survey = take_survey(fake.root(), probes);
  EXPECT_EQ(survey.kernel.release, "6.12.1");
  EXPECT_TRUE(advises(survey, "io_uring_disabled=0"));
  EXPECT_TRUE(advises(survey, "Landlock"));
}

TEST(KernelSurvey, WhatSealingLacksIsAdvised) {
  FakeRoot fake;
  Survey survey = take_survey(fake.root(), good_probes());
  for (const char* subject : {"--resident", "secretmem.enable=1", "bulkheadd"}) {
    EXPECT_FALSE(advises(survey, subject)) << subject;
  }
  Probes probes = good_probes();
  probes.memfd_secret = false;
  probes.userfault = {.works = false, .error = "open that device"};
  probes.daemon = {.answers = false, .error = "start it"};
  survey = take_survey(fake.root(), probes);
  EXPECT_TRUE(advises(survey, "secretmem.enable=1"));
  EXPECT_TRUE(advises(survey, "--resident, and to resume page by page: open that device."));
  EXPECT_TRUE(advises(survey, "covers: start it (man 8 bulkheadd)."));
}

}  // namespace
}  // namespace bulkhead::host
