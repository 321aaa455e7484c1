// SPDX-License-Identifier: Apache-2.0
#include "vmm/launch_spec.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

namespace bulkhead {
namespace {

constexpr unsigned kFormatVersion = 1;
constexpr std::size_t kMaxPath = 4095;
constexpr std::size_t kMaxDebugKnobs = 16;

constexpr std::array<std::string_view, 3> kBackingNames{"memfd", "hugetlb", "carved"};
constexpr std::array<std::string_view, 2> kKeeperNames{"private", "daemon"};
constexpr std::array<std::string_view, 3> kStateCounterNames{"auto", "tpm", "file"};
constexpr std::array<std::string_view, 3> kKernelNames{"bzimage", "elf-pvh", "unpacked"};
constexpr std::array<std::string_view, 2> kNetNames{"tap", "stream"};
constexpr std::array<std::string_view, 2> kRebootNames{"restart", "exit"};
constexpr std::array<std::string_view, 4> kLogNames{"error", "warning", "info", "debug"};

std::string item_key(std::string_view list, std::size_t index, std::string_view field) {
  std::string key(list);
  key.append(".").append(std::to_string(index)).append(".").append(field);
  return key;
}

// Both directions walk the fields below in the same order, so that they cannot disagree.
template <class Visitor, class Disk>
void visit_disk(Visitor& visitor, std::size_t index, Disk& disk) {
  auto key = [index](std::string_view field) { return item_key("disk", index, field); };
  visitor.number(key("fd"), disk.fd);
  visitor.flag(key("read_only"), disk.read_only);
  visitor.flag(key("discard"), disk.discard);
  visitor.number(key("queues"), disk.queues);
  visitor.text(key("serial"), disk.serial, kMaxDiskSerial);
}

template <class Visitor, class Net>
void visit_net(Visitor& visitor, std::size_t index, Net& net) {
  auto key = [index](std::string_view field) { return item_key("net", index, field); };
  visitor.choice(key("kind"), net.kind, kNetNames);
  visitor.number(key("fd"), net.fd);
  for (std::size_t i = 0; i < net.mac.size(); ++i) {
    visitor.number(key("mac." + std::to_string(i)), net.mac[i]);
  }
  visitor.number(key("mtu"), net.mtu);
}

template <class Visitor, class Console>
void visit_console(Visitor& visitor, Console& console) {
  visitor.number("console.in_fd", console.in_fd);
  visitor.number("console.out_fd", console.out_fd);
  visitor.number("console.log_fd", console.log_fd);
  visitor.number("console.messages_fd", console.messages_fd);
  visitor.flag("console.escapes", console.escapes);
}

template <class Visitor, class Spec>
void visit_memory(Visitor& visitor, Spec& spec) {
  visitor.number("memory_bytes", spec.memory_bytes);
  visitor.number("max_memory_bytes", spec.max_memory_bytes);
  visitor.choice("backing", spec.backing, kBackingNames);
  visitor.flag("lock_memory", spec.lock_memory);
  visitor.choice("frames", spec.frames, kKeeperNames);
  visitor.text("daemon_socket", spec.daemon_socket, kMaxSocketPath);
  visitor.number("numa_node", spec.numa_node);
  visitor.number("seal.resident_bytes", spec.seal.resident_bytes);
  visitor.number("seal.key_fd", spec.seal.key_fd);
  visitor.number("seal.store_fd", spec.seal.store_fd);
  visitor.flag("seal.compress", spec.seal.compress);
}

template <class Visitor, class Spec>
void visit_devices(Visitor& visitor, Spec& spec) {
  visitor.list("disks", spec.disks, kMaxDisks);
  for (std::size_t i = 0; i < spec.disks.size(); ++i) visit_disk(visitor, i, spec.disks[i]);
  visitor.list("nets", spec.nets, kMaxNets);
  for (std::size_t i = 0; i < spec.nets.size(); ++i) visit_net(visitor, i, spec.nets[i]);
  visitor.optional("vsock", spec.vsock);
  if (spec.vsock) {
    visitor.number("vsock.cid", spec.vsock->cid);
    visitor.text("vsock.socket_path", spec.vsock->socket_path, kMaxVsockPath);
  }
  visitor.optional("tpm", spec.tpm);
  if (spec.tpm) {
    visitor.number("tpm.program_fd", spec.tpm->program_fd);
    visitor.number("tpm.state_fd", spec.tpm->state_fd);
    visitor.number("tpm.counter_fd", spec.tpm->counter_fd);
    visitor.choice("tpm.counter_in", spec.tpm->counter_in, kStateCounterNames);
    visitor.text("tpm.certifier", spec.tpm->certifier, kMaxSocketPath);
  }
  visitor.flag("rng", spec.rng);
  visitor.flag("balloon", spec.balloon);
  visit_console(visitor, spec.console);
}

template <class Visitor, class Spec>
void visit_spec(Visitor& visitor, Spec& spec) {
  visitor.text("name", spec.name, kMaxName);
  visitor.text("runtime_dir", spec.runtime_dir, kMaxPath);
  visitor.number("runtime_fd", spec.runtime_fd);
  visitor.number("control_fd", spec.control_fd);
  visitor.number("ready_fd", spec.ready_fd);
  visit_memory(visitor, spec);
  visitor.number("cpus", spec.cpus);
  visitor.choice("kernel_kind", spec.kernel_kind, kKernelNames);
  visitor.number("kernel_fd", spec.kernel_fd);
  visitor.number("initrd_fd", spec.initrd_fd);
  visitor.text("command_line", spec.command_line, kMaxCommandLine);
  visit_devices(visitor, spec);
  visitor.choice("on_reboot", spec.on_reboot, kRebootNames);
  visitor.choice("log_level", spec.log_level, kLogNames);
  visitor.number("watchdog_ms", spec.watchdog_ms);
  visitor.list("debug_knobs", spec.debug, kMaxDebugKnobs);
  for (std::size_t i = 0; i < spec.debug.size(); ++i) {
    visitor.text(item_key("debug", i, "name"), spec.debug[i], kMaxName);
  }
}

// A rule that a specification obeys, and what to say when it does not.
struct Rule {
  bool holds;
  const char* message;
};

bool disks_ok(const LaunchSpec& spec) {
  return std::all_of(spec.disks.begin(), spec.disks.end(), [](const DiskSpec& disk) {
    return disk.fd >= 0 && disk.queues >= 1 && disk.queues <= kMaxQueues;
  });
}

// Group addresses (the lowest bit of the first byte) cannot be an interface's own.
bool nets_ok(const LaunchSpec& spec) {
  return std::all_of(spec.nets.begin(), spec.nets.end(), [](const NetSpec& net) {
    return net.fd >= 0 && (net.mac[0] & 1) == 0 && net.mtu >= kMinMtu && net.mtu <= kMaxMtu;
  });
}

// CIDs 0 to 2 are the hypervisor's and the host's, 2^32-1 is "any" (virtio 1.2 §5.10.4).
bool vsock_ok(const LaunchSpec& spec) {
  return !spec.vsock || (spec.vsock->cid >= 3 && spec.vsock->cid != 0xffffffffU &&
                         spec.vsock->socket_path.starts_with('/'));
}

// State without a key or a counter would be open to whoever has the file.
bool tpm_ok(const LaunchSpec& spec) {
  if (!spec.tpm) return true;
  const bool lasting = spec.tpm->state_fd >= 0;
  const std::string& certifier = spec.tpm->certifier;
  if (!certifier.empty() && !certifier.starts_with('/')) return false;
  return spec.tpm->program_fd >= 0 && lasting == (spec.tpm->counter_fd >= 0) &&
         (!lasting || spec.seal.key_fd >= 0);
}

bool memory_ok(const LaunchSpec& spec) {
  return spec.memory_bytes >= kMinMemoryBytes && spec.memory_bytes <= kMaxMemoryBytes &&
         spec.memory_bytes % kMemoryUnit == 0;
}

bool growth_ok(const LaunchSpec& spec) {
  return spec.max_memory_bytes == 0 ||
         (spec.max_memory_bytes > spec.memory_bytes && spec.max_memory_bytes <= kMaxMemoryBytes &&
          (spec.max_memory_bytes - spec.memory_bytes) % kGrowthUnit == 0);
}

// Carved and huge frames cannot be given back page by page.
bool seal_ok(const LaunchSpec& spec) {
  return spec.seal.resident_bytes == 0 || (spec.backing == Backing::kMemfd && !spec.lock_memory &&
                                           spec.seal.resident_bytes >= kMinResidentBytes &&
                                           spec.seal.resident_bytes % kPageSize == 0);
}

bool frames_ok(const LaunchSpec& spec) {
  if (spec.frames == FrameKeeper::kDaemon) return spec.daemon_socket.starts_with('/');
  return spec.backing != Backing::kCarved && spec.numa_node < 0;
}

bool validate(const LaunchSpec& spec, SpecError& error) {
  const Rule rules[] = {
      {is_valid_partition_name(spec.name), "name is not a partition name"},
      {spec.runtime_dir.starts_with('/'), "runtime_dir is not an absolute path"},
      {spec.runtime_fd >= 0 && spec.control_fd >= 0, "runtime_fd and control_fd are needed"},
      {memory_ok(spec), "memory_bytes is out of range, or not a multiple of 2 MiB"},
      {growth_ok(spec), "max_memory_bytes is not memory_bytes and whole growth units, or too much"},
      {seal_ok(spec),
       "seal.resident_bytes is too little, or the backing cannot be sealed by pages"},
      {frames_ok(spec), "these frames need the daemon and its socket"},
      {spec.cpus >= 1 && spec.cpus <= kMaxCpus, "cpus is out of range"},
      {spec.kernel_fd >= 0, "kernel_fd is needed"},
      {disks_ok(spec), "a disk has no descriptor, or a number of queues out of range"},
      {nets_ok(spec), "a net has no descriptor, a group address, or an mtu out of range"},
      {vsock_ok(spec), "vsock has a reserved cid, or a path that is not absolute"},
      {tpm_ok(spec),
       "tpm has no program, a state without a counter or a key, or a relative certifier"},
      {std::all_of(spec.debug.begin(), spec.debug.end(), is_debug_knob), "unknown debug knob"},
  };
  for (const Rule& rule : rules) {
    if (!rule.holds) {
      error = SpecError{rule.message, 0};
      return false;
    }
  }
  return true;
}

}  // namespace

bool LaunchSpec::has_debug(std::string_view knob) const {
  return std::find(debug.begin(), debug.end(), knob) != debug.end();
}

bool is_valid_partition_name(std::string_view name) {
  const bool characters_ok = std::all_of(name.begin(), name.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_' || c == '.';
  });
  return !name.empty() && name.size() <= kMaxName && characters_ok && name[0] != '.' &&
         name[0] != '-';
}

bool is_debug_knob(std::string_view name) {
  return std::find(std::begin(kDebugKnobs), std::end(kDebugKnobs), name) != std::end(kDebugKnobs);
}

std::string serialize(const LaunchSpec& spec) {
  SpecWriter writer;
  writer.number("launch_spec", kFormatVersion);
  visit_spec(writer, spec);
  return writer.take();
}

std::optional<LaunchSpec> parse_launch_spec(std::string_view text, SpecError& error) {
  SpecReader reader(error);
  if (text.size() > kMaxSpecBytes) reader.fail("the specification is too long");
  if (reader.failed() || !reader.split(text)) return std::nullopt;
  unsigned version = 0;
  reader.number("launch_spec", version);
  if (!reader.failed() && version != kFormatVersion) reader.fail("launch_spec is another version");
  LaunchSpec spec;
  visit_spec(reader, spec);
  if (reader.failed() || !reader.finish() || !validate(spec, error)) return std::nullopt;
  return spec;
}

std::vector<int> descriptors(const LaunchSpec& spec) {
  std::vector<int> all{spec.runtime_fd,     spec.control_fd,     spec.ready_fd,
                       spec.kernel_fd,      spec.initrd_fd,      spec.console.in_fd,
                       spec.console.out_fd, spec.console.log_fd, spec.console.messages_fd,
                       spec.seal.key_fd,    spec.seal.store_fd};
  for (const DiskSpec& disk : spec.disks) all.push_back(disk.fd);
  for (const NetSpec& net : spec.nets) all.push_back(net.fd);
  if (spec.tpm) {
    all.insert(all.end(), {spec.tpm->program_fd, spec.tpm->state_fd, spec.tpm->counter_fd});
  }
  std::erase_if(all, [](int fd) { return fd < 0; });
  return all;
}

bool check_descriptors(const LaunchSpec& spec, SpecError& error) {
  std::vector<int> all = descriptors(spec);
  std::sort(all.begin(), all.end());
  const auto twice = std::adjacent_find(all.begin(), all.end());
  if (twice != all.end()) {
    error = SpecError{"descriptor " + std::to_string(*twice) + " is named twice", 0};
    return false;
  }
  for (int fd : all) {
    if (::fcntl(fd, F_GETFD) < 0) {
      error = SpecError{"descriptor " + std::to_string(fd) + " is not open", 0};
      return false;
    }
  }
  return true;
}

Result<Fd> write_spec_fd(const LaunchSpec& spec) {
  const std::string text = serialize(spec);
  if (text.size() > kMaxSpecBytes) {
    return Error{Errc::kInvalidArgument, 0, "the launch specification is too long"};
  }
  Fd fd(::memfd_create("bulkhead-launch-spec", MFD_CLOEXEC));
  if (!fd.valid()) return os_error("cannot create a memfd");
  std::string_view left = text;
  while (!left.empty()) {
    const ssize_t written = ::write(fd.get(), left.data(), left.size());
    if (written < 0) return os_error("cannot write the launch specification");
    left.remove_prefix(static_cast<std::size_t>(written));
  }
  return fd;
}

Result<std::string> read_spec_fd(int fd) {
  std::string text(kMaxSpecBytes + 1, '\0');
  std::size_t used = 0;
  while (used < text.size()) {
    const ssize_t got =
        ::pread(fd, text.data() + used, text.size() - used, static_cast<off_t>(used));
    if (got < 0) return os_error("cannot read the launch specification");
    if (got == 0) break;
    used += static_cast<std::size_t>(got);
  }
  if (used > kMaxSpecBytes) {
    return Error{Errc::kMalformed, 0, "the launch specification is too long"};
  }
  text.resize(used);
  return text;
}

void remove_runtime_files(const LaunchSpec& spec) {
  for (const char* file : kRuntimeFiles) ::unlinkat(spec.runtime_fd, file, 0);
  ::rmdir(spec.runtime_dir.c_str());
}

}  // namespace bulkhead
