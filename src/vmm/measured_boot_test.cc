// SPDX-License-Identifier: Apache-2.0
#include "vmm/measured_boot.h"

#include <fcntl.h>
#include <gtest/gtest.h>

#include "boot/image_builder_for_test.h"
#include "measure/event_log.h"
#include "vtpm/platform.h"

namespace bulkhead {
namespace {

// A start with a TPM up to the first instruction, without KVM.
class MeasuredBoot : public ::testing::Test {
 protected:
  MeasuredBoot() {
    spec_.memory_bytes = 64 * kMiB;
    spec_.cpus = 2;
    spec_.command_line = "console=hvc0";
    spec_.tpm = TpmSpec{.program_fd = program_.get(), .certifier = {}};
    use_kernel(boot::TestElf::make());
    tpm_ = TpmProcess::create(spec_).value();
  }
  void use_kernel(const boot::Bytes& image) {
    kernel_ = boot::make_file(image);
    spec_.kernel_fd = kernel_.get();
  }
  void use_initrd(std::byte fill) {
    initrd_ = boot::make_file(boot::Bytes(5000, fill));
    spec_.initrd_fd = initrd_.get();
  }

  // What the TPM has after a start, and what the log says.
  struct Outcome {
    Bytes pcrs;  // 0 to 7 of the SHA-384 bank, then 8 to 15: a TPM gives eight at a time
    std::vector<std::byte> log;
  };
  Outcome start() {
    EXPECT_TRUE(tpm_->restart());
    const auto memory = GuestMemory::create({.size_bytes = spec_.memory_bytes}).value();
    const MeasuredCopy kernel = MeasuredCopy::make(spec_.kernel_fd).value();
    boot::BootRequest request{.kernel_fd = kernel.fd(),
                              .initrd_fd = std::nullopt,
                              .command_line = spec_.command_line,
                              .cpu_count = spec_.cpus,
                              .pci_window64 = boot::pci_window64(memory->layout()),
                              .tpm = true};
    if (spec_.initrd_fd >= 0) request.initrd_fd = spec_.initrd_fd;
    const boot::Loaded loaded = boot::load(*memory, request).value();
    Outcome outcome;
    outcome.log = measure_start({spec_, *memory, loaded, kernel}, *tpm_).value();
    outcome.pcrs = read_pcrs(0);
    const Bytes second = read_pcrs(1);
    outcome.pcrs.insert(outcome.pcrs.end(), second.begin(), second.end());
    return outcome;
  }
  // TPM2_PCR_Read of PCR 8n to 8n+7.
  Bytes read_pcrs(unsigned byte) {
    TpmWriter command;
    command.u16(0x8001).u32(20).u32(0x17e);
    write_pcr_selections(command, {{TpmAlg::kSha384, 0xffU << (8 * byte)}});
    const Bytes sent = command.take();
    std::array<std::byte, kTpmBufferBytes> response;
    const std::size_t length = tpm_->execute(TpmLocality::k0, sent, response).value();
    ByteReader reader(std::span<const std::byte>(response).first(length));
    EXPECT_TRUE(reader.skip(14));  // header and update counter
    EXPECT_TRUE(read_pcr_selections(reader));
    const auto count = reader.read_be<std::uint32_t>().value();
    EXPECT_EQ(count, 8U);
    Bytes values;
    for (std::uint32_t i = 0; i < count; ++i) {
      const auto value = read_2b(reader, 64).value();
      values.insert(values.end(), value.begin(), value.end());
    }
    return values;
  }
  static Bytes values_of(const PcrBank& bank) {
    Bytes values;
    for (unsigned i = 0; i < 16; ++i) {
      const Digest value = bank.value(static_cast<Pcr>(i)).value();
      values.insert(values.end(), value.bytes().begin(), value.bytes().end());
    }
    return values;
  }
  Bytes predicted() {
    const auto events =
        measure_launch(predict_facts(spec_, TpmState::kTransient, tpm_->identity()).value(),
                       kMeasuredBanks)
            .value();
    return values_of(predict_pcrs(events).value()[1]);
  }
  // The number of PCRs in which two starts differ, and the last of them.
  static std::pair<int, int> difference(const Bytes& one, const Bytes& other) {
    std::pair<int, int> found{0, -1};
    for (int pcr = 0; pcr < 16; ++pcr) {
      const auto at = one.begin() + pcr * 48;
      if (std::equal(at, at + 48, other.begin() + pcr * 48)) continue;
      found = {found.first + 1, pcr};
    }
    return found;
  }

  const Fd program_ = Fd::open(BULKHEAD_VTPM_PROGRAM, O_RDONLY).value();
  Fd kernel_;
  Fd initrd_;
  LaunchSpec spec_;
  std::unique_ptr<TpmProcess> tpm_;
};

TEST_F(MeasuredBoot, GivesWhatWasPredicted) {
  EXPECT_EQ(start().pcrs, predicted());
  use_initrd(std::byte{1});
  EXPECT_EQ(start().pcrs, predicted());
  spec_.max_memory_bytes = 1 * kGiB;
  spec_.disks.push_back({.read_only = true, .serial = "root"});
  EXPECT_EQ(start().pcrs, predicted());
}

TEST_F(MeasuredBoot, TheLogReplaysToWhatTheTpmHas) {
  use_initrd(std::byte{1});
  const Outcome outcome = start();
  const auto parsed = EventLog::parse(outcome.log);
  ASSERT_TRUE(parsed) << parsed.error().what;
  const auto banks = parsed->replay().value();
  ASSERT_EQ(banks.size(), 2U);
  EXPECT_EQ(values_of(banks[1]), outcome.pcrs);
  const LaunchFacts facts = read_launch(parsed->events()).value();
  EXPECT_EQ(facts, predict_facts(spec_, TpmState::kTransient, tpm_->identity()).value());
}

TEST_F(MeasuredBoot, EachChangeShowsInItsPcr) {
  use_initrd(std::byte{1});
  const Bytes usual = start().pcrs;
  EXPECT_EQ(difference(usual, start().pcrs), std::pair(0, -1));  // the control

  boot::Bytes tampered = boot::TestElf::make();
  tampered[boot::TestElf::kText + 1000] ^= std::byte{1};
  use_kernel(tampered);
  EXPECT_EQ(difference(usual, start().pcrs), std::pair(1, 4));
  use_kernel(boot::TestElf::make());

  spec_.command_line = "console=hvc0 init=/bin/sh";
  EXPECT_EQ(difference(usual, start().pcrs), std::pair(1, 8));
  spec_.command_line = "console=hvc0";

  use_initrd(std::byte{2});
  EXPECT_EQ(difference(usual, start().pcrs), std::pair(1, 9));
  use_initrd(std::byte{1});

  spec_.balloon = !spec_.balloon;
  EXPECT_EQ(difference(usual, start().pcrs), std::pair(1, 1));
  spec_.balloon = !spec_.balloon;
  EXPECT_EQ(difference(usual, start().pcrs), std::pair(0, -1));
}

TEST_F(MeasuredBoot, TheKernelIsACopy) {
  const MeasuredCopy kernel = MeasuredCopy::make(spec_.kernel_fd).value();
  const boot::Bytes image = boot::TestElf::make();
  EXPECT_EQ(kernel.digests(), MultiHash::of(kMeasuredBanks, image).value());
  std::byte changed = ~image[5000];
  ASSERT_EQ(::pwrite(spec_.kernel_fd, &changed, 1, 5000), 1);
  std::byte copied{};
  ASSERT_EQ(::pread(kernel.fd(), &copied, 1, 5000), 1);
  EXPECT_EQ(copied, image[5000]);
}

TEST_F(MeasuredBoot, AnInitrdThatIsACopyIsMeasuredAsThat) {
  use_initrd(std::byte{1});
  ASSERT_TRUE(tpm_->restart());
  const auto memory = GuestMemory::create({.size_bytes = spec_.memory_bytes}).value();
  const MeasuredCopy kernel = MeasuredCopy::make(spec_.kernel_fd).value();
  const MeasuredCopy initrd = MeasuredCopy::make(spec_.initrd_fd).value();
  const auto log = measure_start({spec_, *memory, {}, kernel, &initrd}, *tpm_).value();
  const EventLog parsed = EventLog::parse(log).value();
  const LaunchFacts facts = read_launch(parsed.events()).value();
  EXPECT_EQ(facts.initrd, predict_facts(spec_, TpmState::kTransient, tpm_->identity())->initrd);
}

TEST_F(MeasuredBoot, TheTpmHasNoOtherBanks) {
  ASSERT_TRUE(tpm_->restart());
  const PcrSelections wanted{{TpmAlg::kSha256, 0xffffff}, {TpmAlg::kSha384, 0xffffff}};
  EXPECT_EQ(vtpm::Platform(*tpm_).banks().value(), wanted);
  ASSERT_EQ(tpm_->identity().programs.size(), 2U);
  EXPECT_EQ(tpm_->identity().programs[0].name, "bulkhead-vmm");
}

TEST_F(MeasuredBoot, ATpmThatFailsStartsNothing) {
  start();
  const auto memory = GuestMemory::create({.size_bytes = spec_.memory_bytes}).value();
  const MeasuredCopy kernel = MeasuredCopy::make(spec_.kernel_fd).value();
  const boot::Loaded loaded{};
  // Its authority was given up: what is not the first measurement of a start is refused as a whole.
  EXPECT_EQ(measure_start({spec_, *memory, loaded, kernel}, *tpm_).error().code, Errc::kIo);
}

}  // namespace
}  // namespace bulkhead
