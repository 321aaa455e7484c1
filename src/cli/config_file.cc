// SPDX-License-Identifier: Apache-2.0
#include "cli/config_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>

#include "base/fd.h"
#include "base/toml.h"
#include "base/toml_text.h"
#include "cli/error.h"

namespace bulkhead::cli {
namespace {

const OptionInfo* find_option(std::string_view key) {
  const auto table = run_option_table();
  const auto found = std::find_if(table.begin(), table.end(),
                                  [key](const OptionInfo& option) { return option.key == key; });
  return found == table.end() ? nullptr : &*found;
}

// Turns TOML values into options, and knows where each one stands.
class ConfigReader {
 public:
  explicit ConfigReader(const std::string& path)
      : path_(path), directory_(std::filesystem::path(path).parent_path()) {}

  RunOptions read(const toml::table& table) {
    for (const auto& [key, value] : table) set(key, value);
    return std::move(options_);
  }

 private:
  [[noreturn]] void fail(const toml::source_region& where, const std::string& message) const {
    throw UsageError(path_ + ":" + std::to_string(where.begin.line) + ": " + message);
  }

  void set(const toml::key& key, const toml::node& value) {
    const OptionInfo* option = find_option(key.str());
    if (option == nullptr) fail_unknown(key);
    if (option->flag != nullptr) {
      options_.*option->flag = boolean(*option, value);
    } else if (option->list != nullptr) {
      options_.*option->list = strings(*option, value);
    } else {
      options_.*option->text = string(*option, value);
    }
  }

  [[noreturn]] void fail_unknown(const toml::key& key) const {
    const std::string_view near = nearest_key(key.str());
    std::string message = "unknown key '" + std::string(key.str()) + "'; ";
    message += near.empty() ? "see bulkhead-config(5) for all keys"
                            : "did you mean '" + std::string(near) + "'?";
    fail(key.source(), message);
  }

  bool boolean(const OptionInfo& option, const toml::node& value) const {
    if (const auto* flag = value.as_boolean()) return flag->get();
    fail(value.source(), std::string(option.key) + " must be true or false");
  }

  std::string string(const OptionInfo& option, const toml::node& value) const {
    if (option.is_number && value.is_integer()) return std::to_string(value.as_integer()->get());
    const auto* text = value.as_string();
    if (text == nullptr) {
      fail(value.source(), std::string(option.key) + " must be a string, like " +
                               std::string(option.key) + " = \"" + std::string(option.placeholder) +
                               "\"");
    }
    if (text->get().find('\0') != std::string::npos) {
      fail(value.source(), std::string(option.key) + " contains a NUL character; remove it");
    }
    return option.is_path ? beside_the_file(text->get()) : text->get();
  }

  std::vector<std::string> strings(const OptionInfo& option, const toml::node& value) const {
    const auto* array = value.as_array();
    if (array == nullptr) return {string(option, value)};
    std::vector<std::string> all;
    for (const toml::node& item : *array) all.push_back(string(option, item));
    return all;
  }

  std::string beside_the_file(const std::string& file) const {
    if (file.empty() || file[0] == '/' || directory_.empty()) return file;
    return (directory_ / file).string();
  }

  const std::string& path_;
  std::filesystem::path directory_;
  RunOptions options_;
};

std::string read_all(const Fd& fd, const std::string& path) {
  std::string text(kMaxConfigBytes + 1, '\0');
  std::size_t used = 0;
  while (used < text.size()) {
    const ssize_t got = ::read(fd.get(), text.data() + used, text.size() - used);
    if (got < 0) throw UsageError("cannot read '" + path + "': " + errno_text(errno));
    if (got == 0) break;
    used += static_cast<std::size_t>(got);
  }
  text.resize(used);
  return text;
}

void refuse_non_ascii(std::string_view text, const std::string& path) {
  if (const std::size_t line = first_line_beyond_ascii(text)) {
    throw UsageError(path + ":" + std::to_string(line) + ": " + kBeyondAscii);
  }
}

}  // namespace

RunOptions parse_config(std::string_view text, const std::string& path) {
  if (text.size() > kMaxConfigBytes) {
    throw UsageError(path + ": is larger than 64 KiB; a configuration file is a few lines of TOML");
  }
  refuse_non_ascii(text, path);
  try {
    return ConfigReader(path).read(toml::parse(text));
  } catch (const toml::parse_error& error) {
    throw UsageError(path + ":" + std::to_string(error.source().begin.line) +
                     ": not valid TOML: " + std::string(error.description()));
  }
}

RunOptions read_config_file(const std::string& path) {
  auto fd = Fd::open(path.c_str(), O_RDONLY);
  if (!fd) {
    throw UsageError("cannot open configuration file '" + path +
                     "': " + errno_text(fd.error().os_errno) + "; check the path after --config");
  }
  struct stat status{};
  if (::fstat(fd->get(), &status) != 0 || S_ISDIR(status.st_mode)) {
    throw UsageError("configuration file '" + path + "' is a directory; name a TOML file");
  }
  return parse_config(read_all(*fd, path), path);
}

}  // namespace bulkhead::cli
