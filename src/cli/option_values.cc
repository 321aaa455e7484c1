// SPDX-License-Identifier: Apache-2.0
#include "cli/option_values.h"

#include <algorithm>
#include <filesystem>
#include <limits>

#include "cli/partition_config.h"

namespace bulkhead::cli {
namespace {

// "G", "GiB" and "g" all mean 2^30; 0: not a unit.
std::uint64_t unit_bytes(std::string_view unit) {
  if (unit.size() == 3 && unit.substr(1) == "iB") unit = unit.substr(0, 1);
  if (unit.size() != 1) return 0;
  switch (unit[0]) {
    case 'k':
    case 'K':
      return kKiB;
    case 'm':
    case 'M':
      return kMiB;
    case 'g':
    case 'G':
      return kGiB;
    case 't':
    case 'T':
      return 1024 * kGiB;
    default:
      return 0;
  }
}

// Whether `part` is an option of --disk, and if so takes it. Others belong to the file's name.
bool take_disk_option(std::string_view part, DiskRequest& disk) {
  if (part == "ro") {
    disk.read_only = true;
  } else if (part == "no-discard") {
    disk.discard = false;
  } else if (part.starts_with("queues=")) {
    disk.queues = parse_number<unsigned>("--disk queues=", part.substr(7), {1, kMaxQueues});
  } else if (part.starts_with("serial=")) {
    disk.serial = part.substr(7);
  } else {
    return false;
  }
  return true;
}

void check_serial(const std::string& serial) {
  const bool plain =
      std::all_of(serial.begin(), serial.end(), [](char c) { return c > ' ' && c < 0x7f; });
  if (plain && serial.size() <= kMaxDiskSerial) return;
  throw UsageError("--disk serial='" + serial +
                   "' is not 1 to 20 printable characters; shorten it");
}

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

// passt's form, without its lists and ranges: one port, or host:guest.
void check_forward(const std::string& spec) {
  const std::size_t colon = spec.find(':');
  const std::string_view text(spec);
  parse_number<unsigned>("--net tcp=", text.substr(0, colon), {1, 65535});
  if (colon != std::string::npos) {
    parse_number<unsigned>("--net tcp=", text.substr(colon + 1), {1, 65535});
  }
}

void take_net_option(const std::string& part, const std::string& whole, NetRequest& net) {
  const bool passt = net.kind == NetKind::kStream;
  if (part.starts_with("mac=")) {
    net.mac = parse_mac(std::string_view(part).substr(4));
  } else if (passt && part.starts_with("tcp=")) {
    check_forward(part.substr(4));
    net.tcp_forwards.push_back(part.substr(4));
  } else if (passt && part == "host-loopback") {
    net.host_loopback = true;
  } else {
    throw UsageError("--net '" + whole + "': no such option '" + part + "'; " +
                     (passt ? "passt takes mac=, tcp= and host-loopback" : "a TAP takes mac="));
  }
}

NetRequest net_kind(const std::string& word, const std::string& whole) {
  NetRequest net;
  if (word == "passt") {
    net.kind = NetKind::kStream;
  } else if (word.starts_with("tap=") && word.size() > 4) {
    net.tap = word.substr(4);
  } else {
    throw UsageError("--net '" + whole + "' is not tap=NAME, passt or none");
  }
  return net;
}

}  // namespace

std::size_t parse_choice(std::string_view option, std::string_view text,
                         std::initializer_list<std::string_view> choices) {
  const auto found = std::find(choices.begin(), choices.end(), text);
  if (found != choices.end()) return static_cast<std::size_t>(found - choices.begin());
  std::string all;
  for (std::string_view choice : choices) all += (all.empty() ? "" : " or ") + std::string(choice);
  throw UsageError(std::string(option) + " '" + std::string(text) + "' is not " + all);
}

std::vector<std::string> split_commas(std::string_view text) {
  std::vector<std::string> parts;
  for (;;) {
    const std::size_t comma = text.find(',');
    parts.emplace_back(text.substr(0, comma));
    if (comma == std::string_view::npos) return parts;
    text.remove_prefix(comma + 1);
  }
}

std::uint64_t parse_size(std::string_view option, std::string_view text) {
  std::uint64_t count = 0;
  const char* end = text.data() + text.size();
  const auto [stop, code] = std::from_chars(text.data(), end, count);
  const std::string said = std::string(option) + " '" + std::string(text) + "'";
  if (code != std::errc{}) throw UsageError(said + " is not a size; write 512M or 4G");
  if (stop == end)
    throw UsageError(said + " has no unit; write " + std::to_string(count) + "M or G");
  const std::uint64_t unit = unit_bytes({stop, static_cast<std::size_t>(end - stop)});
  if (unit == 0) throw UsageError(said + " has an unknown unit; use K, M, G or T");
  if (count > std::numeric_limits<std::uint64_t>::max() / unit) {
    throw UsageError(said + " is too large for any machine");
  }
  return count * unit;
}

// A file's name may hold commas: options are taken from the end, as long as they are options.
DiskRequest parse_disk(const std::string& text) {
  DiskRequest disk;
  std::string_view left(text);
  for (std::size_t comma; (comma = left.rfind(',')) != std::string_view::npos;) {
    if (!take_disk_option(left.substr(comma + 1), disk)) break;
    left = left.substr(0, comma);
  }
  disk.path = left;
  if (disk.path.empty()) throw UsageError("--disk '" + text + "' names no file");
  check_serial(disk.serial);
  return disk;
}

MacAddress parse_mac(std::string_view text) {
  MacAddress mac{};
  bool good = text.size() == 17;
  for (std::size_t i = 0; good && i < mac.size(); ++i) {
    const int high = hex_digit(text[3 * i]);
    const int low = hex_digit(text[3 * i + 1]);
    good = high >= 0 && low >= 0 && (i == 5 || text[3 * i + 2] == ':');
    if (good) mac[i] = static_cast<std::uint8_t>(high * 16 + low);
  }
  if (good && (mac[0] & 1) == 0 && mac != MacAddress{}) return mac;
  throw UsageError("mac '" + std::string(text) +
                   "' is not an interface's address; write it like 02:00:00:12:34:56");
}

std::optional<NetRequest> parse_net(const std::string& text) {
  if (text == "none") return std::nullopt;
  const std::vector<std::string> parts = split_commas(text);
  NetRequest net = net_kind(parts[0], text);
  for (std::size_t i = 1; i < parts.size(); ++i) take_net_option(parts[i], text, net);
  return net;
}

VsockSpec parse_vsock(const std::string& text) {
  VsockSpec vsock;
  std::string_view path(text);
  if (const std::size_t at = path.rfind(",cid="); at != std::string_view::npos) {
    vsock.cid = parse_number<std::uint32_t>("--vsock cid=", path.substr(at + 5), {3, 0xfffffffe});
    path = path.substr(0, at);
  }
  if (path.empty()) throw UsageError("--vsock '" + text + "' names no socket path");
  vsock.socket_path = std::filesystem::absolute(path).string();
  if (vsock.socket_path.size() > kMaxVsockPath) {
    throw UsageError("--vsock path '" + vsock.socket_path + "' is longer than " +
                     std::to_string(kMaxVsockPath) + " bytes; use a shorter one");
  }
  return vsock;
}

}  // namespace bulkhead::cli
