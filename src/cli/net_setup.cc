// SPDX-License-Identifier: Apache-2.0
#include "cli/net_setup.h"

#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "cli/error.h"
#include "cli/process.h"

namespace bulkhead::cli {
namespace {

constexpr int kVnetHeaderBytes = 12;  // struct virtio_net_hdr with num_buffers, virtio 1.2 §5.1.6
constexpr int kPasstStartMs = 10000;

std::string tuntap_command(const std::string& interface) {
  return "sudo ip tuntap add dev " + interface + " mode tap user $USER && sudo ip link set " +
         interface + " up";
}

// Checked first, because TUNSETIFF would silently make a new interface for whoever may do so.
void check_is_tap(const std::string& interface) {
  const std::string directory = "/sys/class/net/" + interface;
  if (interface.size() >= IFNAMSIZ || interface.find('/') != std::string::npos ||
      interface.starts_with('.')) {
    throw UsageError("'" + interface + "' is not an interface's name; use at most 15 characters");
  }
  if (!std::filesystem::exists(directory)) {
    throw UsageError("there is no TAP interface '" + interface +
                     "'; create it: " + tuntap_command(interface));
  }
  if (!std::filesystem::exists(directory + "/tun_flags")) {
    throw UsageError("interface '" + interface +
                     "' is not a TAP interface; create one: " + tuntap_command("tap0"));
  }
}

[[noreturn]] void fail_attach(const std::string& interface, int error_number) {
  const std::string said = "cannot attach to TAP interface '" + interface + "': ";
  switch (error_number) {
    case EPERM:
    case EACCES:
      throw UsageError(said +
                       "it belongs to another user; give it to yours: sudo ip tuntap del dev " +
                       interface + " mode tap && " + tuntap_command(interface));
    case EBUSY:
      throw UsageError(said + "another program uses it; end that, or use another TAP");
    case EINVAL:
      throw UsageError(
          said + "it is a TUN, or has several queues; make a plain one: " + tuntap_command("tap0"));
    default:
      throw UsageError(said + errno_text(error_number));
  }
}

unsigned mtu_of(const std::string& interface) {
  ifreq request{};
  interface.copy(request.ifr_name, IFNAMSIZ - 1);
  const Fd probe(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  const bool known = ::ioctl(probe.get(), SIOCGIFMTU, &request) == 0;
  return known ? static_cast<unsigned>(request.ifr_mtu) : 1500;
}

std::vector<std::string> passt_arguments(const NetRequest& request, int fd) {
  std::vector<std::string> arguments{"passt", "--quiet", "--fd", std::to_string(fd)};
  // Otherwise the gateway's address would lead the guest to services that the host keeps to itself.
  if (!request.host_loopback) arguments.emplace_back("--no-map-gw");
  for (const std::string& forward : request.tcp_forwards) {
    arguments.emplace_back("--tcp-ports");
    arguments.push_back(forward);
  }
  return arguments;
}

std::string last_line(const Fd& messages) {
  std::array<char, 4096> text{};
  const off_t size = ::lseek(messages.get(), 0, SEEK_END);
  const off_t start = size > 4096 ? size - 4096 : 0;
  const ssize_t got = ::pread(messages.get(), text.data(), text.size(), start);
  std::string_view all(text.data(), got > 0 ? static_cast<std::size_t>(got) : 0);
  while (all.ends_with('\n')) all.remove_suffix(1);
  const std::size_t newline = all.rfind('\n');
  return std::string(newline == std::string_view::npos ? all : all.substr(newline + 1));
}

// passt goes into the background once it is ready: its first process then ends with status 0.
void await_passt(pid_t pid, const Fd& messages) {
  const Fd process(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
  pollfd ended{process.get(), POLLIN, 0};
  const bool in_time = ::poll(&ended, 1, kPasstStartMs) == 1;
  if (!in_time) ::kill(pid, SIGKILL);
  int status = 0;
  ::waitpid(pid, &status, 0);
  if (in_time && WIFEXITED(status) && WEXITSTATUS(status) == 0) return;
  if (in_time && WIFEXITED(status) && WEXITSTATUS(status) == kExecFailed) {
    throw UsageError(
        "--net passt: the program passt is not installed; run: sudo apt install passt");
  }
  const std::string said = in_time ? last_line(messages) : "it did not get ready within 10 s";
  throw HostError("--net passt: passt failed to start: " + said + "; try: passt --foreground");
}

// FNV-1a, 64 bits. Nothing secret: it only has to spread.
std::uint64_t hash(std::string_view text) {
  std::uint64_t value = 0xcbf29ce484222325;
  for (char c : text) {
    value ^= static_cast<unsigned char>(c);
    value *= 0x100000001b3;
  }
  return value;
}

}  // namespace

NetSetup open_tap(const std::string& interface) {
  check_is_tap(interface);
  auto tun = Fd::open("/dev/net/tun", O_RDWR | O_NONBLOCK);
  if (!tun) {
    throw UsageError("cannot open /dev/net/tun: " + errno_text(tun.error().os_errno) +
                     "; load the driver: sudo modprobe tun");
  }
  ifreq request{};
  interface.copy(request.ifr_name, IFNAMSIZ - 1);
  request.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR;
  if (::ioctl(tun->get(), TUNSETIFF, &request) != 0) fail_attach(interface, errno);
  if (::ioctl(tun->get(), TUNSETVNETHDRSZ, &kVnetHeaderBytes) != 0) fail_attach(interface, errno);
  return {std::move(*tun), mtu_of(interface)};
}

NetSetup start_passt(const NetRequest& request) {
  int pair[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0) {
    throw HostError("cannot create a socket pair: " + errno_text(errno));
  }
  Fd ours(pair[0]);
  const Fd theirs(pair[1]);
  const Fd messages(::memfd_create("passt-messages", MFD_CLOEXEC));
  SpawnRequest spawn{.program = "passt",
                     .arguments = passt_arguments(request, theirs.get()),
                     .keep_open = {theirs.get()},
                     .stderr_fd = messages.get()};
  await_passt(spawn_process(spawn), messages);
  return {std::move(ours), 1500};
}

MacAddress make_mac(const std::string& partition, std::size_t index) {
  std::string host;
  std::ifstream("/etc/machine-id") >> host;
  const std::uint64_t bits = hash(host + "/" + partition + "/" + std::to_string(index));
  MacAddress mac;
  for (std::size_t i = 0; i < mac.size(); ++i) mac[i] = static_cast<std::uint8_t>(bits >> (8 * i));
  mac[0] = static_cast<std::uint8_t>((mac[0] & 0xfc) | 2);  // locally administered, one interface's
  return mac;
}

}  // namespace bulkhead::cli
