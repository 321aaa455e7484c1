// SPDX-License-Identifier: Apache-2.0
#include "broker/app.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <charconv>
#include <cstdio>

#include "base/log.h"
#include "broker/names.h"
#include "broker/token/token_process.h"
#include "crypto/openssl_memory.h"

namespace bulkhead::broker {
namespace {

constexpr int kExitHost = 1;
constexpr int kExitUsage = 2;

constexpr const char* kFooter =
    "Exit status: 0 done, 1 failed (audit: the log is not what it was), 2 wrong usage.\n"
    "\n"
    "Examples:\n"
    "  bulkhead-broker --config /etc/bulkhead/broker.toml init\n"
    "  bulkhead-broker resource add alice default/disk/key disk.key\n"
    "  bulkhead-broker serve\n"
    "  bulkhead-broker audit --expect 120:1f0c...\n";

struct Words {
  std::string config = "/etc/bulkhead/broker.toml";
  std::string tenant;
  std::string name;
  std::string file;
  std::string expect;
};

void print_error(std::string message) {
  for (char& c : message) {
    if ((c >= 0 && c < ' ') || c == 0x7f) c = '?';
  }
  std::fprintf(stderr, "bulkhead-broker: %s\n", message.c_str());
}

// No core file, no ptrace: secrets pass through here.
void harden_process() {
  const rlimit none{0, 0};
  if (::prctl(PR_SET_DUMPABLE, 0) != 0 || ::setrlimit(RLIMIT_CORE, &none) != 0) {
    throw HostError("cannot forbid core files");
  }
  ::signal(SIGPIPE, SIG_IGN);
}

std::vector<std::string> token_command(const std::string& config) {
  return {"/proc/self/exe", "--config", config, "token-process"};
}

std::unique_ptr<TokenClient> open_token(const Words& words) {
  return value_of(TokenClient::start({.command = token_command(words.config)}), "token");
}

const TenantConfig& tenant_of(const Config& config, const std::string& name) {
  const TenantConfig* tenant = config.find(name);
  if (tenant == nullptr) throw UsageError("no tenant '" + name + "' in the configuration");
  return *tenant;
}

ResourceName resource_of(const Config& config, const Words& words) {
  if (!is_resource_name(words.name)) {
    throw UsageError("'" + words.name + "' is no resource: REPOSITORY/TYPE/TAG");
  }
  return {.tenant = tenant_of(config, words.tenant).name, .name = words.name};
}

int init(const Words& words) {
  const Config config = read_config(words.config);
  if (::mkdir(config.state.c_str(), 0700) != 0 && errno != EEXIST) {
    throw HostError(config.state + ": " + strerrordesc_np(errno));
  }
  static_cast<void>(value_of(ResourceStore::open(config.store_path(), true), config.store_path()));
  static_cast<void>(value_of(AuditLog::open(config.audit_path()), config.audit_path()));
  const auto token = open_token(words);
  for (const TenantConfig& tenant : config.tenants) {
    check_host(token->make_keys(tenant.name), "tenant " + tenant.name);
    std::printf("tenant %s: keys are in the token\n", tenant.name.c_str());
  }
  return 0;
}

int serve(const Words& words, const JudgeFactory& judges) {
  const Config config = read_config(words.config);
  // Before any thread is there, so that none of them takes the signal.
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  if (::pthread_sigmask(SIG_BLOCK, &signals, nullptr) != 0) throw HostError("cannot block signals");
  Service service(
      {.config = config, .judges = judges, .token_command = token_command(words.config)});
  std::printf("bulkhead-broker: ready at %s port %u, %zu tenants, metrics port %u\n",
              config.listen.host.c_str(), unsigned{service.port()}, config.tenants.size(),
              unsigned{service.metrics_port()});
  std::fflush(stdout);
  int signal = 0;
  ::sigwait(&signals, &signal);
  service.stop();
  return 0;
}

SecretBytes read_secret(const std::string& path) {
  const int fd = path == "-" ? ::dup(STDIN_FILENO) : ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  const Fd file(fd);
  if (!file.valid()) throw HostError(path + ": " + strerrordesc_np(errno));
  SecretBytes buffer = value_of(SecretBytes::create(kMaxSecretBytes + 1), path);
  std::size_t size = 0;
  while (size < buffer.size()) {
    const ssize_t got = ::read(file.get(), buffer.bytes().data() + size, buffer.size() - size);
    if (got < 0) throw HostError(path + ": " + strerrordesc_np(errno));
    if (got == 0) break;
    size += static_cast<std::size_t>(got);
  }
  if (size == 0 || size > kMaxSecretBytes)
    throw UsageError(path + ": a resource has 1 byte to 8 KiB");
  return value_of(SecretBytes::copy_of(buffer.bytes().first(size)), path);
}

void record(const Config& config, const char* event, const ResourceName& name) {
  AuditLog audit = value_of(AuditLog::open(config.audit_path()), config.audit_path());
  check_host(
      audit.append(
          {.event = event, .outcome = "granted", .tenant = name.tenant, .secret = name.name}, true),
      config.audit_path());
}

int add_resource(const Words& words) {
  const Config config = read_config(words.config);
  const ResourceName name = resource_of(config, words);
  const SecretBytes secret = read_secret(words.file);
  ResourceStore store =
      value_of(ResourceStore::open(config.store_path(), false), config.store_path());
  const auto token = open_token(words);
  record(config, "resource-add", name);
  check_host(ResourceVault(store, *token).put(name, secret), name.name);
  return 0;
}

int list_resources(const Words& words) {
  const Config config = read_config(words.config);
  ResourceStore store =
      value_of(ResourceStore::open(config.store_path(), false), config.store_path());
  for (const TenantConfig& tenant : config.tenants) {
    if (!words.tenant.empty() && words.tenant != tenant.name) continue;
    for (const ResourceInfo& each : value_of(store.list(tenant.name), config.store_path())) {
      std::printf("%s %s version %llu\n", tenant.name.c_str(), each.name.c_str(),
                  static_cast<unsigned long long>(each.version));
    }
  }
  return 0;
}

int remove_resource(const Words& words) {
  const Config config = read_config(words.config);
  const ResourceName name = resource_of(config, words);
  ResourceStore store =
      value_of(ResourceStore::open(config.store_path(), false), config.store_path());
  check_host(store.remove(name), name.name);
  record(config, "resource-remove", name);
  return 0;
}

// "120:1f0c...", as audit has printed it.
std::optional<AuditHead> expected_head(const std::string& text) {
  if (text.empty()) return std::nullopt;
  const std::size_t colon = text.find(':');
  AuditHead head;
  const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), head.sequence);
  const auto hash = decode_hex(std::string_view(text).substr(std::min(colon, text.size() - 1) + 1));
  if (code != std::errc{} || *end != ':' || !hash || hash->size() != head.hash.size()) {
    throw UsageError("--expect wants NUMBER:HASH, as audit prints it");
  }
  std::ranges::copy(*hash, head.hash.begin());
  return head;
}

int audit(const Words& words) {
  const Config config = read_config(words.config);
  AuditFault fault;
  const auto head = verify_audit(config.audit_path(), expected_head(words.expect), fault);
  if (!head) {
    throw HostError(config.audit_path() + ": line " + std::to_string(fault.line) + ": " +
                    fault.what);
  }
  std::printf("%llu:%s\n", static_cast<unsigned long long>(head->sequence),
              to_hex(head->hash).c_str());
  return 0;
}

// The commands, each with what it does once the line is understood.
class CommandLine {
 public:
  explicit CommandLine(const JudgeFactory& judges) : judges_(judges) {
    app_.set_version_flag("--version", BULKHEAD_VERSION);
    app_.add_option("--config", words_.config, "configuration file")->capture_default_str();
    app_.require_subcommand(1);
    app_.footer(kFooter);
    add("init", "make the store, and each tenant's keys in the token", init);
    add("serve", "answer until SIGTERM or SIGINT",
        [this](const Words& words) { return serve(words, judges_); });
    add("audit", "verify the audit log, and print its newest entry's number and hash", audit)
        ->add_option("--expect", words_.expect, "NUMBER:HASH of an entry that must be there");
    add("token-process", "", [](const Words& words) {
      return run_token_process(read_config(words.config).token);
    })->group("");
    add_resource_commands();
  }

  int run(int argc, char** argv) {
    try {
      app_.parse(argc, argv);
    } catch (const CLI::CallForHelp& help) {
      return app_.exit(help);
    } catch (const CLI::CallForVersion& version) {
      return app_.exit(version);
    } catch (const CLI::ParseError& error) {
      const std::string text = error.what();
      throw UsageError(text.substr(0, text.find('\n')) + "; see --help");
    }
    return action_(words_);
  }

 private:
  using Action = std::function<int(const Words&)>;

  CLI::App* add(const char* name, const char* help, Action action) {
    return add_to(app_, name, help, std::move(action));
  }
  CLI::App* add_to(CLI::App& parent, const char* name, const char* help, Action action) {
    CLI::App* command = parent.add_subcommand(name, help);
    command->callback([this, action = std::move(action)] { action_ = action; });
    return command;
  }
  void add_resource_commands() {
    CLI::App* resource = app_.add_subcommand("resource", "secrets and who they belong to");
    resource->require_subcommand(1);
    CLI::App* put =
        add_to(*resource, "add", "seal a file's content; replaces an older one", add_resource);
    add_name(*put);
    put->add_option("FILE", words_.file, "the secret; - for standard input")->required();
    add_to(*resource, "list", "names and versions", list_resources)
        ->add_option("TENANT", words_.tenant, "only this tenant's");
    add_name(*add_to(*resource, "remove", "forget a secret", remove_resource));
  }
  void add_name(CLI::App& command) {
    command.add_option("TENANT", words_.tenant, "whose")->required();
    command.add_option("NAME", words_.name, "REPOSITORY/TYPE/TAG")->required();
  }

  const JudgeFactory& judges_;
  CLI::App app_{"bulkhead-broker: releases secrets to partitions that prove what they are"};
  Words words_;
  Action action_;
};

}  // namespace

int run_program(int argc, char** argv, const JudgeFactory& judges) {
  try {
    static_cast<void>(keep_openssl_memory_secret());
    harden_process();
    return CommandLine(judges).run(argc, argv);
  } catch (const UsageError& error) {
    print_error(error.what());
    return kExitUsage;
  } catch (const std::exception& error) {
    print_error(error.what());
    return kExitHost;
  }
}

}  // namespace bulkhead::broker
