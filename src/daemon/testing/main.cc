// SPDX-License-Identifier: Apache-2.0
// For tests: takes the monitor's place and asks bulkheadd for certificates, or for a counter.
//   fake-monitor SOCKET ask|ask-dumpable KEYS   asks with the keys in the file
//   fake-monitor SOCKET count INDEX             makes a counter, which is to have that index
//   fake-monitor SOCKET wait KEYS               only is there
// Exit status: 0 they came, 1 they were refused, 2 usage.
#include <sys/prctl.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "mem/daemon_connection.h"

namespace {

std::vector<std::byte> read(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::vector<std::byte> bytes;
  for (char c : std::string(std::istreambuf_iterator<char>(file), {})) {
    bytes.push_back(static_cast<std::byte>(c));
  }
  return bytes;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) return 2;
  const std::string mode = argv[2];
  if (mode != "ask-dumpable") ::prctl(PR_SET_DUMPABLE, 0);
  if (mode == "wait") {
    ::alarm(60);
    ::pause();
  }
  auto connection = bulkhead::daemon::Connection::open(argv[1], 30);
  if (!connection) return 2;
  if (mode == "count") {
    using bulkhead::CounterAction;
    const std::array<std::byte, bulkhead::kCounterPasswordBytes> secret{std::byte{1}};
    const auto made = connection->count(CounterAction::kMake, 0, secret);
    if (!made || std::to_string(made->index) != argv[3]) ::_exit(1);
    const auto stepped = connection->count(CounterAction::kStep, made->index, secret);
    ::_exit(stepped && stepped->value == made->value + 1 ? 0 : 1);
  }
  const std::string keys = argv[3];
  const bool came = connection->certify(read(keys + ".ek"), read(keys + ".ak")).has_value();
  ::_exit(came ? 0 : 1);  // traced, no sanitizer could look for leaks
}
