// SPDX-License-Identifier: Apache-2.0
#include "cli/app.h"

#include <CLI/CLI.hpp>
#include <cstdio>
#include <exception>
#include <string>
#include <string_view>

#include "cli/commands.h"
#include "cli/config_file.h"
#include "cli/error.h"
#include "cli/host_command.h"
#include "cli/run_options.h"

namespace bulkhead::cli {
namespace {

constexpr const char* kRunExamples =
    "Sizes are binary: K, M, G, T. The default kernel parameters are\n"
    "  console=hvc0 noapic reboot=panic_warm panic=-1\n"
    "and root=/dev/vda when there is one --disk and no --initrd, and\n"
    "memhp_default_state=online_movable with --max-memory.\n"
    "\n"
    "On a terminal: Ctrl-A x ends the partition, Ctrl-A h helps, Ctrl-A Ctrl-A is a Ctrl-A.\n"
    "\n"
    "Exit status:\n"
    "  0 the guest powered off      10 it rebooted (--on-reboot exit)   11 kernel panic\n"
    "  1 the monitor or host failed 12 triple fault                     13 stopped by the monitor\n"
    "  2 usage or configuration     128+n ended by signal n\n"
    "\n"
    "Examples:\n"
    "  bulkhead run --kernel /boot/vmlinuz-6.12 --initrd /boot/initrd.img-6.12 \\\n"
    "      --disk debian.img --memory 1G --cpus 2 --cmdline 'root=/dev/vda1'\n"
    "  bulkhead run --kernel vmlinux --disk root.img,ro --net passt,tcp=2222:22\n"
    "  bulkhead run --config web.toml --name web --detach\n";

constexpr const char* kMeasureExamples =
    "Takes the options of 'run', and prints the PCRs 0 to 9 that the partition starts with. They\n"
    "are those of the programs beside this one.\n\n"
    "Examples:\n"
    "  bulkhead measure --kernel vmlinuz --initrd initrd.img --memory 1G --cpus 2\n"
    "  bulkhead measure --config web.toml --reference web-2026-11 >>policy.toml\n";
constexpr const char* kVerifyExamples =
    "Says for every check what was seen and what was wanted, and then what is proved. Needs no\n"
    "network. Without --nonce, evidence may be a replayed one.\n\n"
    "Exit status: 0 accepted, 1 refused, 2 usage or a bad policy, 3 it could not look.\n\n"
    "Examples:\n"
    "  bulkhead verify --evidence web.json --policy policy.toml --trust roots\n"
    "  bulkhead verify --evidence web.json --policy policy.toml --trust roots \\\n"
    "      --nonce q1w2e3r4t5y6u7i8 --secret default/disk/key --json\n";
constexpr const char* kPsExamples = "Example:\n  bulkhead ps --json\n";
constexpr const char* kStopExamples =
    "Presses the guest's power button, every 5 seconds, and waits; a guest that does not power\n"
    "off in time is ended from outside. Exit status: 0 it has ended, 1 it was not running, 2 "
    "usage.\n\n"
    "Examples:\n  bulkhead stop web\n  bulkhead stop web --timeout 120\n  bulkhead stop web "
    "--force\n";
constexpr const char* kConsoleExamples =
    "Shows the last 64 KiB of output, then what follows. Ctrl-A x leaves; the partition goes "
    "on.\n\n"
    "Example:\n  bulkhead console web\n";
constexpr const char* kDoctorExamples = "Example:\n  bulkhead doctor --json\n";
constexpr const char* kLedgerExamples =
    "Exit status of audit: 0 clean, 1 something was found, 2 usage, 3 it could not look.\n\n"
    "Examples:\n  bulkhead ledger show\n  sudo bulkhead ledger audit --json\n"
    "  sudo bulkhead ledger map --output memory.svg\n";
constexpr const char* kHostExamples =
    "On the host:            sudo bulkhead host enrol --request host.request\n"
    "Where hosts are enrolled: bulkhead host certify --request host.request --grant host.grant \\\n"
    "    --authority-key key.pem --authority-certificates chain.pem --tpm-roots tpm-makers/\n"
    "On the host again:      sudo bulkhead host enrol --grant host.grant\n"
    "Without a TPM:          sudo bulkhead host enrol --software\n";
constexpr const char* kCounterExamples =
    "Examples:\n  sudo bulkhead host counters\n"
    "  sudo bulkhead host counters --remove $(bulkhead host counters --of web.tpm.counter)\n";
constexpr const char* kMainFooter =
    "'bulkhead COMMAND --help' explains a command. Exit status: 0 done, 1 failed, 2 wrong "
    "usage.\n\n"
    "Example:\n  bulkhead run --kernel /boot/vmlinuz-6.12 --initrd /boot/initrd.img-6.12\n";

constexpr const char* kSuspendExamples =
    "Stops the guest and seals all of its memory and registers; returns when no plaintext is left\n"
    "in RAM. 'bulkhead resume' opens pages again as the guest needs them.\n\n"
    "Example:\n  bulkhead suspend web\n";
constexpr const char* kResumeExamples = "Example:\n  bulkhead resume web\n";
constexpr const char* kResizeExamples =
    "The partition was started with --max-memory, and its guest has the driver virtio_mem. Frames\n"
    "come from the ledger and go back to it, scrubbed, in steps of 128M.\n\n"
    "Example:\n  bulkhead resize web 768M\n";
constexpr const char* kSharedExamples =
    "Host tools see of a guest's memory only what the guest grants them.\n\n"
    "Examples:\n  bulkhead shared web\n  bulkhead shared web --read 1048576:4096 >page\n";
constexpr const char* kKeyExamples =
    "Examples:\n  bulkhead key create web.key\n  bulkhead run --key-file web.key ...\n"
    "  bulkhead key erase web.key\n";

struct Choices {
  RunOptions run;
  std::string config;
  MeasureOptions measure;
  VerifyOptions verify;
  StopOptions stop;
  std::string console_name;
  std::string suspend_name;
  std::string resume_name;
  ResizeOptions resize;
  SharedOptions shared;
  std::string key_path;
  bool ps_json = false;
  bool doctor_json = false;
  LedgerOptions ledger;
  HostOptions host;
};

// The options that say what a partition is.
void add_partition_options(CLI::App* run, Choices& choices) {
  for (const OptionInfo& option : run_option_table()) {
    const std::string flag = "--" + std::string(option.key);
    const std::string help(option.help);
    if (option.flag != nullptr) {
      run->add_flag(flag, choices.run.*option.flag, help);
      continue;
    }
    CLI::Option* added =
        option.list != nullptr
            ? run->add_option(flag, choices.run.*option.list, help)->allow_extra_args(false)
            : run->add_option(flag, choices.run.*option.text, help);
    added->option_text(std::string(option.placeholder));
  }
  run->add_option("--config", choices.config,
                  "TOML file with any of these options; the command line wins")
      ->option_text("FILE");
}

void add_run(CLI::App& app, Choices& choices) {
  CLI::App* run = app.add_subcommand("run", "Run a partition: a virtual machine of its own");
  add_partition_options(run, choices);
  run->footer(kRunExamples);

  CLI::App* measure = app.add_subcommand(
      "measure", "Predict what a partition's TPM will say of its start, without starting it");
  add_partition_options(measure, choices);
  measure->add_flag("--json", choices.measure.json, "as a JSON object");
  measure->add_option("--reference", choices.measure.reference, "as a reference of a policy")
      ->option_text("NAME");
  measure->add_option("--event-log", choices.measure.event_log, "write the event log, too")
      ->option_text("FILE");
  measure->footer(kMeasureExamples);
}

void add_verify(CLI::App& app, VerifyOptions& options) {
  CLI::App* verify =
      app.add_subcommand("verify", "Check what a partition shows against a policy, and say why");
  const auto add = [verify](const char* flag, std::string& text, const char* value,
                            const char* help) {
    return verify->add_option(flag, text, help)->option_text(value);
  };
  add("--evidence", options.evidence, "FILE", "what the partition showed")->required();
  add("--policy", options.policy, "FILE", "what is accepted, in TOML")->required();
  add("--trust", options.trust, "DIR", "roots in PEM form (default /etc/bulkhead/trust)");
  add("--nonce", options.nonce, "NONCE", "that it must answer: base64url, or hex:DIGITS");
  add("--nonce-time", options.nonce_time, "TIME", "when you gave the nonce out");
  add("--secret", options.secret, "NAME", "judge by the rules of this secret");
  add("--time", options.time, "TIME", "verify for 2026-11-22T14:05:00Z (default: now)");
  verify->add_flag("--json", options.json, "as a JSON object");
  add("--ear", options.ear, "FILE", "write the result as a signed token, too");
  add("--ear-key", options.ear_key, "FILE", "private key on P-256 in PEM form that signs it");
  verify->footer(kVerifyExamples);
}

RunOptions with_config(const Choices& choices) {
  if (choices.config.empty()) return choices.run;
  return merge(choices.run, read_config_file(choices.config));
}

void add_memory(CLI::App& app, Choices& choices) {
  CLI::App* suspend = app.add_subcommand("suspend", "Stop a partition and seal all of it");
  suspend->add_option("NAME", choices.suspend_name, "the partition")->required();
  suspend->footer(kSuspendExamples);

  CLI::App* resume = app.add_subcommand("resume", "Let a suspended partition go on");
  resume->add_option("NAME", choices.resume_name, "the partition")->required();
  resume->footer(kResumeExamples);

  CLI::App* resize = app.add_subcommand("resize", "Give a running partition more memory, or less");
  resize->add_option("NAME", choices.resize.name, "the partition")->required();
  resize->add_option("SIZE", choices.resize.size, "its memory from now on")->required();
  resize->add_flag("--no-wait", choices.resize.no_wait, "do not wait for the guest");
  resize->footer(kResizeExamples);

  CLI::App* shared = app.add_subcommand("shared", "List or read what a guest shares with the host");
  shared->add_option("NAME", choices.shared.name, "the partition")->required();
  shared->add_option("--read", choices.shared.read, "write these bytes to standard output")
      ->option_text("ADDRESS:LENGTH");
  shared->footer(kSharedExamples);
}

void add_key(CLI::App& app, Choices& choices) {
  CLI::App* key = app.add_subcommand("key", "Make or destroy a key file");
  key->require_subcommand(1);
  key->footer(kKeyExamples);
  CLI::App* create = key->add_subcommand("create", "Make a file with a random key");
  create->add_option("FILE", choices.key_path, "does not exist yet")->required();
  CLI::App* erase = key->add_subcommand("erase", "Destroy a key, and with it what it sealed");
  erase->add_option("FILE", choices.key_path, "the key file")->required();
}

void add_ledger(CLI::App& app, Choices& choices) {
  CLI::App* ledger = app.add_subcommand("ledger", "Say who owns which memory, and prove it");
  ledger->require_subcommand(1);
  ledger->footer(kLedgerExamples);

  CLI::App* show = ledger->add_subcommand("show", "Pools and partitions, and how much each has");
  show->add_flag("--json", choices.ledger.json, "as a JSON object");

  CLI::App* audit = ledger->add_subcommand(
      "audit", "Compare the ledger with the page tables of all processes (needs root)");
  audit->add_flag("--json", choices.ledger.json, "as a JSON object");

  CLI::App* map =
      ledger->add_subcommand("map", "Draw the machine's memory with its owners (needs root)");
  map->add_option("--output", choices.ledger.output, "picture to write: FILE.svg or FILE.png")
      ->option_text("FILE");
  map->add_flag("--text", choices.ledger.text, "as text, also beside --output (the default alone)");
}

void add_host_state(CLI::App* command, HostOptions& host) {
  command
      ->add_option(
          "--state", host.state,
          std::string("where it is kept (default ") + hostca::StateDirectory::kDefaultPath + ")")
      ->option_text("DIR");
}

void add_host_enrol(CLI::App* host, HostOptions& options) {
  CLI::App* enrol = host->add_subcommand("enrol", "Get this machine a certificate (needs root)");
  enrol->add_option("--request", options.request, "write what who enrols hosts has to see")
      ->option_text("FILE");
  enrol->add_option("--grant", options.grant, "take the answer")->option_text("FILE");
  enrol->add_flag("--software", options.software, "use a key in a file, and vouch for ourselves");
  enrol->add_option("--name", options.name, "what to call this machine (default its host name)")
      ->option_text("NAME");
  enrol->add_option("--host-tpm", options.tpm, "the TPM, as tpm2-tss names it")
      ->option_text("TCTI");
  add_host_state(enrol, options);
  enrol->footer(kHostExamples);
}

void add_host_counters(CLI::App* host, HostOptions& options) {
  CLI::App* counters =
      host->add_subcommand("counters", "List what counts partitions' TPM states (needs root)");
  counters
      ->add_option("--of", options.counter_file, "the counter of the state with this counter file")
      ->option_text("FILE");
  counters
      ->add_option("--remove", options.remove,
                   "free this one's room in the TPM; its state cannot be opened any more")
      ->option_text("INDEX");
  counters->add_option("--host-tpm", options.tpm, "the TPM, as tpm2-tss names it")
      ->option_text("TCTI");
  counters->footer(kCounterExamples);
}

void add_host(CLI::App& app, HostOptions& options) {
  CLI::App* host = app.add_subcommand("host", "Certificates that say which machine this is");
  host->require_subcommand(1);
  host->footer(kHostExamples);
  add_host_enrol(host, options);
  add_host_counters(host, options);
  CLI::App* show = host->add_subcommand("show", "Say what this machine's certificate says");
  show->add_flag("--json", options.json, "as a JSON object");
  add_host_state(show, options);

  CLI::App* certify = host->add_subcommand("certify", "Answer a machine's request");
  certify->add_option("--request", options.request, "what the machine wrote")
      ->option_text("FILE")
      ->required();
  certify->add_option("--grant", options.grant, "the answer to write")
      ->option_text("FILE")
      ->required();
  certify->add_option("--authority-key", options.authority_key, "key to sign with, P-256 in PEM")
      ->option_text("FILE")
      ->required();
  certify
      ->add_option("--authority-certificates", options.authority_certificates,
                   "that key's certificate, then those up to the root")
      ->option_text("FILE")
      ->required();
  certify->add_option("--tpm-roots", options.tpm_roots, "certificates of TPM makers to trust")
      ->option_text("DIR")
      ->required();
  certify->add_option("--name", options.name, "the machine's name (default what it calls itself)")
      ->option_text("NAME");
  certify->add_option("--days", options.days, "how long the certificate is valid (default 365)")
      ->check(CLI::Range(1, 3650))
      ->option_text("N");
  certify->footer(kHostExamples);
}

int dispatch_host(const CLI::App& host, HostOptions options) {
  options.action = host.get_subcommands().front()->get_name();
  return host_command(options);
}

void add_others(CLI::App& app, Choices& choices) {
  CLI::App* ps = app.add_subcommand("ps", "List running partitions");
  ps->add_flag("--json", choices.ps_json, "as a JSON array");
  ps->footer(kPsExamples);

  CLI::App* stop = app.add_subcommand("stop", "End a partition");
  stop->add_option("NAME", choices.stop.name, "the partition")->required();
  stop->add_flag("--force", choices.stop.force, "do not ask the guest");
  stop->add_option("--timeout", choices.stop.timeout_s, "seconds the guest is given (default 30)")
      ->check(CLI::Range(0, 86400))
      ->option_text("SECONDS");
  stop->footer(kStopExamples);

  CLI::App* console = app.add_subcommand("console", "Attach to a partition's console");
  console->add_option("NAME", choices.console_name, "the partition")->required();
  console->footer(kConsoleExamples);

  add_memory(app, choices);
  add_key(app, choices);

  CLI::App* doctor = app.add_subcommand("doctor", "Say what this machine can do");
  doctor->add_flag("--json", choices.doctor_json, "as a JSON object");
  doctor->footer(kDoctorExamples);

  app.add_subcommand("lab", "Run commands in a software host with KVM: lab run, lab setup");
  app.add_subcommand("version", "Print the version");
}

int dispatch_ledger(const CLI::App& ledger, LedgerOptions options) {
  options.action = ledger.get_subcommands().front()->get_name();
  return ledger_command(options);
}

int dispatch(CLI::App& app, const Choices& choices) {
  const std::string chosen = app.get_subcommands().front()->get_name();
  if (chosen == "run") return run_command(with_config(choices));
  if (chosen == "measure") return measure_command(with_config(choices), choices.measure);
  if (chosen == "verify") return verify_command(choices.verify);
  if (chosen == "ps") return ps_command(choices.ps_json);
  if (chosen == "stop") return stop_command(choices.stop);
  if (chosen == "console") return console_command(choices.console_name);
  if (chosen == "suspend") return suspend_command(choices.suspend_name);
  if (chosen == "resume") return resume_command(choices.resume_name);
  if (chosen == "resize") return resize_command(choices.resize);
  if (chosen == "shared") return shared_command(choices.shared);
  if (chosen == "key") {
    const bool create = app.get_subcommands().front()->got_subcommand("create");
    return create ? key_create_command(choices.key_path) : key_erase_command(choices.key_path);
  }
  if (chosen == "ledger") return dispatch_ledger(*app.get_subcommand("ledger"), choices.ledger);
  if (chosen == "host") return dispatch_host(*app.get_subcommand("host"), choices.host);
  if (chosen == "doctor") return doctor_command(choices.doctor_json);
  std::printf("bulkhead %s\n", BULKHEAD_VERSION);
  return kExitOk;
}

bool is_command(const CLI::App& app, std::string_view word) {
  const auto named = [word](const CLI::App* command) { return command->get_name() == word; };
  return word.starts_with('-') || !app.get_subcommands(named).empty();
}

// CLI11's messages may have several lines.
std::string first_line(const std::string& text) {
  return text.substr(0, text.find('\n'));
}

int parse_and_run(int argc, char** argv) {
  if (argc >= 2 && std::string_view(argv[1]) == "lab") return lab_command(argc - 2, argv + 2);
  CLI::App app("Bulkhead runs each virtual machine in a memory partition of its own.", "bulkhead");
  app.set_version_flag("--version", std::string("bulkhead ") + BULKHEAD_VERSION);
  app.require_subcommand(1);
  app.footer(kMainFooter);
  Choices choices;
  add_run(app, choices);
  add_verify(app, choices.verify);
  add_others(app, choices);
  add_ledger(app, choices);
  add_host(app, choices.host);
  if (argc >= 2 && !is_command(app, argv[1])) {
    throw UsageError("there is no command '" + std::string(argv[1]) + "'; see 'bulkhead --help'");
  }
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& wanted) {  // --help, --version
    return app.exit(wanted);
  } catch (const CLI::ParseError& error) {
    throw UsageError(first_line(error.what()) + "; see 'bulkhead --help'");
  }
  return dispatch(app, choices);
}

}  // namespace

int run_program(int argc, char** argv) {
  try {
    return parse_and_run(argc, argv);
  } catch (const UsageError& error) {
    print_error(error.what());
    return kExitUsage;
  } catch (const std::exception& error) {
    print_error(error.what());
    return kExitHost;
  }
}

}  // namespace bulkhead::cli
