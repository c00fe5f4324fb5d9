// SPDX-License-Identifier: MIT
#include "vmm/settings/config.hpp"

#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "shared/report_channel.hpp"
#include "tests/support/parsed_command_line.hpp"
#include "vmm/settings/guest_arguments.hpp"

using namespace vmm;
using namespace test_support;

TEST_CASE("the image may be left out, where there is something for the own one to do") {
  const auto image_of = [](std::vector<std::string> args) {
    std::vector<const char*> argv{"vmm"};
    for (const std::string& arg : args) {
      argv.push_back(arg.c_str());
    }
    const auto parsed = parse_command_line(argv, test_support::no_file);
    REQUIRE_MESSAGE(parsed.has_value(), parsed.error().message);
    return std::get<Config>(*parsed).image;
  };
  CHECK(image_of({"guest.bin"}) == "guest.bin");
  CHECK(image_of({"guest.bin", "--", "/bin/true"}) == "guest.bin");
  CHECK(image_of({"--", "guest.bin"}).empty());
  CHECK(image_of({"--mem", "64M", "--", "/bin/true", "--", "guest.bin"}).empty());
  CHECK(image_of({"--workload", "churn"}).empty());
  CHECK(image_of({"--list-workloads"}).empty());
  CHECK(image_of({"--list-syscalls"}).empty());
  CHECK(contains(refuse_bare({"--mem", "64M"}), "nothing to run"));
  CHECK(contains(refuse_bare({"guest.bin", "--"}), "no program stands behind it"));
  CHECK(contains(refuse_bare({"--"}), "no program stands behind it"));
  CHECK(contains(refuse_bare({"--input", "--", "/bin/true"}), "needs a value"));
}

TEST_CASE("an image alone gives the defaults") {
  const Config config = accept({});
  CHECK(config.image == "guest.bin");
  CHECK(config.mem_bytes == 512 * mib);
  CHECK(config.cpus == 1);
  CHECK(config.backing == Backing::thp);
  CHECK(config.discard == DiscardMethod::dontneed);
  CHECK(config.decline_below.value == 0);
  CHECK(config.report.enabled == 1);
  CHECK(config.report.order == 9);
  CHECK(config.report.batch == 256);
  CHECK(config.report.keep_bytes == 0);
  CHECK(config.report.delay_ns == 0);
  CHECK(config.workload == "idle");
  CHECK_FALSE(config.input.has_value());
  CHECK_FALSE(config.speed.has_value());
  CHECK(config.guest_args.empty());
  CHECK_FALSE(config.stats.has_value());
  CHECK(config.verbosity == Verbosity::normal);
  CHECK(config.check_hints == HintCheck::off);
  CHECK(config.live == LiveMode::automatic);
  CHECK(config.sample_period.count() == 20);
}

TEST_CASE("every option reaches the configuration") {
  const Config config = accept({"--mem",
                                "2G",
                                "--cpus",
                                "1",
                                "--backing=4k",
                                "--discard",
                                "free",
                                "--decline-below",
                                "3",
                                "--report",
                                "order=4,batch=512,keep=32M,delay=0.5",
                                "--workload",
                                "replay",
                                "--input",
                                "a.pgt.xz",
                                "--speed",
                                "real",
                                "--arg",
                                "size=1G",
                                "--arg",
                                "rounds=3",
                                "--seed",
                                "18446744073709551615",
                                "--stats",
                                "s.json",
                                "--quiet",
                                "--check-hints",
                                "--live",
                                "on",
                                "--sample-ms",
                                "5"});
  CHECK(config.mem_bytes == 2 * gib);
  CHECK(config.backing == Backing::small_pages);
  CHECK(config.discard == DiscardMethod::free_lazily);
  CHECK(config.decline_below.value == 3);
  CHECK(config.report.order == 4);
  CHECK(config.report.batch == 512);
  CHECK(config.report.keep_bytes == 32 * mib);
  CHECK(config.report.delay_ns == 500'000);
  CHECK(config.workload == "replay");
  CHECK(config.input == "a.pgt.xz");
  CHECK(config.speed == Speed::real);
  CHECK(config.guest_args == std::vector<std::string>{"size=1G", "rounds=3"});
  CHECK(config.seed == 18446744073709551615ULL);
  CHECK(config.stats == "s.json");
  CHECK(config.verbosity == Verbosity::quiet);
  CHECK(config.check_hints == HintCheck::audit);
  CHECK(config.live == LiveMode::on);
  CHECK(config.sample_period.count() == 5);
}

TEST_CASE("help and version are outcomes, even without an image or beside mistakes") {
  for (const std::vector<std::string>& args : std::vector<std::vector<std::string>>{
           {"--help"}, {"-h"}, {"--version"}, {"--mem", "1", "--help"}}) {
    const Parsed parsed = parse(args);
    REQUIRE(parsed.has_value());
    const auto* const shown = std::get_if<ShowText>(&*parsed);
    REQUIRE(shown != nullptr);
    CHECK(shown->text.ends_with('\n'));
  }
  const Parsed parsed = parse({"--help"});
  const std::string& help = std::get<ShowText>(*parsed).text;
  for (const char* option :
       {"--mem", "--cpus", "--backing", "--discard", "--decline-below", "--report", "--workload",
        "--list-workloads", "--input", "--speed", "--arg", "--seed", "--stats", "--quiet",
        "--check-hints", "--live", "--sample-ms", "--version"}) {
    CAPTURE(option);
    CHECK(contains(help, option));
  }
}

TEST_CASE("listing the workloads asks the guest, quietly") {
  const Config config = accept({"--list-workloads"});
  CHECK(config.workload == "list");
  CHECK(config.verbosity == Verbosity::quiet);
  CHECK(contains(refuse({"--list-workloads", "--workload", "ramp"}), "--workload"));
  const Parsed own_image = parse({"--list-workloads"});
  REQUIRE(own_image.has_value());
  CHECK(std::get<Config>(*own_image).workload == "list");
}

TEST_CASE("memory sizes stay within their limits") {
  CHECK(accept({"--mem", "16M"}).mem_bytes == 16 * mib);
  CHECK(accept({"--mem", "256G"}).mem_bytes == 256 * gib);
  CHECK(accept({"--mem", "18M"}).mem_bytes == 18 * mib);
  for (const char* text : {"1", "0", "14M", "16777215", "258G", "257G", "1T", "17E", "-16M", "16MB",
                           "", "16M ", "lots", "99999999999999999999T"}) {
    CAPTURE(text);
    CHECK(contains(refuse({"--mem", text}), "--mem"));
  }
  CHECK(contains(refuse({"--mem", "17M"}), "16M and 18M"));
  CHECK(contains(refuse({"--mem", "1"}), "16M to 256G"));
}

TEST_CASE("numbers stay within their limits") {
  CHECK(accept({"--cpus", "16"}).cpus == 16);
  for (const char* text : {"0", "17", "-1", "1x", "", "one"}) {
    CAPTURE(text);
    CHECK(contains(refuse({"--cpus", text}), "--cpus"));
  }
  CHECK(accept({"--host", "poll", "--workers", "8"}).workers == 8);
  for (const char* text : {"0", "9", "-1", "", "many"}) {
    CAPTURE(text);
    CHECK(contains(refuse({"--host", "async", "--workers", text}), "--workers"));
  }
  CHECK_FALSE(accept({}).prefault.has_value());
  CHECK(accept({"--prefault", "4"}).prefault == abi::Order{4});
  for (const char* text : {"3", "11", "-1", "yes", ""}) {
    CHECK(contains(refuse({"--prefault", text}), "--prefault"));
  }
  CHECK(accept({"--decline-below", "10"}).decline_below.value == 10);
  for (const char* text : {"11", "-1", "256", "0x1", "4294967296"}) {
    CAPTURE(text);
    CHECK(contains(refuse({"--decline-below", text}), "--decline-below"));
  }
  for (const char* text : {"-1", "18446744073709551616", "1.0"}) {
    CAPTURE(text);
    CHECK(contains(refuse({"--seed", text}), "--seed"));
  }
  for (const char* text : {"0", "10001", "2ms"}) {
    CAPTURE(text);
    CHECK(contains(refuse({"--sample-ms", text}), "--sample-ms"));
  }
}

TEST_CASE("choices name what there is") {
  for (const char* const text : {"0", "1001", "-1", "fast", "out.folded"}) {
    CHECK(contains(refuse({"--profile", text}), "--profile"));
  }
  CHECK(contains(refuse({"--profile-out", "x"}), "needs --profile HZ"));
  CHECK(contains(refuse({"--profile-lines"}), "needs --profile HZ"));
  CHECK(contains(refuse({"--profile", "99", "--gdb", "1234"}), "leave out --gdb"));
  CHECK(contains(refuse({"--profile", "99", "--step"}), "leave out --step"));
  CHECK(contains(refuse({"--profile", "99", "--repeat", "2"}), "leave out --repeat"));
  CHECK(contains(refuse({"--profile", "99", "--quiet"}), "add --profile-out FILE"));
  CHECK(contains(refuse({"--backing", "tmpfs"}), "thp, 4k, memfd, hugetlb"));
  CHECK(contains(refuse({"--discard", "punch"}), "dontneed, free, none"));
  CHECK(contains(refuse({"--speed", "fast"}), "max, real"));
  CHECK(contains(refuse({"--host", "fast"}), "sync, async, poll"));
  CHECK(contains(refuse({"--live", "yes"}), "auto, on, off"));
  CHECK(contains(refuse({"--backing", "THP"}), "--backing"));
}

TEST_CASE("lazy discards need anonymous memory") {
  accept({"--backing", "thp", "--discard", "free"});
  accept({"--backing", "memfd", "--discard", "none"});
  CHECK(contains(refuse({"--backing", "memfd", "--discard", "free"}), "--discard free"));
  CHECK(contains(refuse({"--discard", "free", "--backing", "hugetlb"}), "--discard free"));
}

TEST_CASE("the host's mode, workers, faults and control socket") {
  const Config plain = accept({});
  CHECK(plain.host == HostMode::sync);
  CHECK(plain.workers == 1);
  CHECK_FALSE(plain.host_faults.any());
  CHECK_FALSE(plain.control.has_value());
  const Config config = accept({"--host", "async", "--workers", "3", "--host-fault",
                                "delay=5ms,drop=0.05,reorder", "--control", "ctl.sock"});
  CHECK(config.host == HostMode::async);
  CHECK(config.workers == 3);
  CHECK(config.host_faults.delay_ns == 5'000'000);
  CHECK(config.host_faults.drop == 0.05);
  CHECK(config.host_faults.reorder);
  CHECK(config.control == "ctl.sock");
  CHECK(contains(refuse({"--workers", "2"}), "--workers"));
  CHECK(contains(refuse({"--host-fault", "drop=2"}), "--host-fault"));
  CHECK(contains(refuse({"--control", ""}), "--control"));
}

TEST_CASE("metrics, repetitions and pressure") {
  const Config plain = accept({});
  CHECK_FALSE(plain.metrics.has_value());
  CHECK(plain.repeat == 1);
  CHECK(plain.pressure == PressureUse::off);
  const Config config = accept({"--metrics", "a/m.prom", "--metrics-ms", "250", "--repeat", "7",
                                "--warm-up", "2", "--pressure", "auto"});
  CHECK(config.metrics.value().form == MetricsForm::file);
  CHECK(config.metrics.value().path == "a/m.prom");
  CHECK(config.metrics_period == std::chrono::milliseconds(250));
  CHECK(config.repeat == 7);
  CHECK(config.warm_up == 2);
  CHECK(plain.warm_up == 0);
  CHECK(config.pressure == PressureUse::automatic);
  CHECK(accept({"--metrics", "m.jsonl"}).metrics.value().form == MetricsForm::lines);
  const Config socket = accept({"--metrics", "unix:s.jsonl"});
  CHECK(socket.metrics.value().form == MetricsForm::socket);
  CHECK(socket.metrics.value().path == "s.jsonl");
  CHECK(contains(refuse({"--metrics", "unix:"}), "--metrics unix:"));
  CHECK(contains(refuse({"--metrics", ""}), "--metrics"));
  CHECK(contains(refuse({"--metrics-ms", "250"}), "--metrics-ms: needs --metrics"));
  CHECK(contains(refuse({"--metrics", "unix:s", "--metrics-ms", "250"}), "--metrics-ms"));
  CHECK(contains(refuse({"--metrics", "m", "--metrics-ms", "1"}), "--metrics-ms"));
  for (const char* const wrong : {"0", "-1", "x", "10001"}) {
    CHECK(contains(refuse({"--repeat", wrong}), "--repeat"));
  }
  for (const char* const wrong : {"-1", "x", "10001"}) {
    CHECK(contains(refuse({"--repeat", "2", "--warm-up", wrong}), "--warm-up"));
  }
  CHECK(contains(refuse({"--warm-up", "1"}), "--warm-up: needs --repeat"));
  CHECK(contains(refuse({"--warm-up", "1", "--repeat", "1"}), "--warm-up: needs --repeat"));
  CHECK(contains(refuse({"--repeat", "2", "--trace", "t"}), "--trace: looks at one run"));
  CHECK(contains(refuse({"--repeat", "2", "--gdb", "0"}), "--gdb: looks at one run"));
  CHECK(contains(refuse({"--repeat", "2", "--step"}), "--step: looks at one run"));
  CHECK(accept({"--repeat", "2", "--control", "c", "--core", "d"}).core == "d"); // of the last run
  CHECK(contains(refuse({"--pressure", "on"}), "--pressure"));
}

TEST_CASE("the shape of the command line is checked") {
  CHECK(contains(refuse_bare({}), "image"));
  CHECK(contains(refuse_bare({""}), "image"));
  CHECK(contains(refuse({"--memory", "1G"}), "--memory"));
  CHECK(contains(refuse_bare({"--memory"}), "--memory"));
  CHECK(contains(refuse({"-m", "1G"}), "-m"));
  CHECK(contains(refuse({"second.bin"}), "second.bin"));
  CHECK(contains(refuse({"--mem"}), "--mem"));
  CHECK(contains(refuse({"--mem", "1G", "--mem", "1G"}), "2 times"));
  CHECK(contains(refuse({"--report", "order=1", "--report", "batch=2"}), "2 times"));
  CHECK(contains(refuse({"--stats", ""}), "--stats"));
  CHECK(contains(refuse({"--input", ""}), "--input"));
  CHECK(contains(refuse({"--workload", ""}), "--workload"));
  CHECK(contains(refuse({"--stats="}), "--stats"));
  refuse({"--quiet=3"});
  refuse({"--check-hints=yes"});
}

TEST_CASE("a hostile argument stays on one line") {
  CHECK(contains(refuse({"--mem", "1\n2"}), "\\n"));
  CHECK(contains(refuse({"--x\ny"}), "\\n"));
  CHECK(contains(refuse({"two\nlines"}), "\\n"));
  CHECK_FALSE(contains(refuse({"--backing", "\x1b[2J"}), "\x1b"));
}

TEST_CASE("guest arguments are key=value, once each") {
  CHECK(accept({"--arg", "a=b=c"}).guest_args.front() == "a=b=c");
  for (const char* text :
       {"", "size", "=1", "size=", "Size=1", "a b=1", "workload=ramp", "speed=real"}) {
    CAPTURE(text);
    CHECK(contains(refuse({"--arg", text}), "--arg"));
  }
  CHECK(contains(refuse({"--arg", "a=1", "--arg", "b=1", "--arg", "a=2"}), "twice"));
}

TEST_CASE("an argument does not swallow what follows it") {
  const Parsed parsed = parse({"--arg", "a=1", "guest.bin"});
  REQUIRE(parsed.has_value());
  CHECK(std::get<Config>(*parsed).image == "guest.bin");
}

TEST_CASE("guest arguments are encoded as NUL-ended strings that fit the boot info") {
  using namespace std::string_literals;
  CHECK(encode_guest_args(accept({"--workload", "ramp", "--arg", "size=1G"})) ==
        "workload=ramp\0size=1G\0"s);
  // "workload=idle", "speed=max" and "k=" with their NULs take 14 + 10 + 3 bytes.
  const std::size_t room = abi::boot_args_bytes - 27;
  const Config full = accept({"--speed", "max", "--arg", "k=" + std::string(room, 'x')});
  CHECK(encode_guest_args(full).size() == abi::boot_args_bytes);
  CHECK(contains(refuse({"--speed", "max", "--arg", "k=" + std::string(room + 1, 'x')}), "2048"));
}

TEST_CASE("a transport is chosen by name") {
  CHECK(accept({}).transport == Transport::pio);
  CHECK(accept({"--transport", "vmcall"}).transport == Transport::vmcall);
  CHECK(contains(refuse({"--transport", "smoke"}), "not one of pio, ioeventfd, vmcall"));
  CHECK(accept({"--host", "async"}).transport == Transport::ioeventfd);
  CHECK(accept({"--host", "poll", "--transport", "pio"}).transport == Transport::pio);
  CHECK(accept({"--transport", "ioeventfd", "--host", "async"}).transport == Transport::ioeventfd);
  CHECK(contains(refuse({"--transport", "ioeventfd"}), "use --host async or poll"));
}

TEST_CASE("a debugger comes by port or by path") {
  CHECK_FALSE(accept({}).gdb.has_value());
  CHECK(accept({"--gdb", "1234"}).gdb->port == 1234);
  CHECK(accept({"--gdb", "1234"}).gdb->path.empty());
  CHECK(accept({"--gdb", "0"}).gdb->port == 0);
  CHECK(accept({"--gdb", "65535"}).gdb->port == 65535);
  CHECK(accept({"--gdb", "unix:a socket"}).gdb->path == "a socket");
  for (const char* bad : {"65536", "-1", "1.5", "0x10", "port", "18446744073709551616", "Unix:x"}) {
    CAPTURE(bad);
    CHECK(contains(refuse({"--gdb", bad}), "must be a port"));
  }
  CHECK(contains(refuse({"--gdb", "unix:"}), "path is empty"));
  CHECK(contains(refuse({"--gdb", "1", "--gdb", "2"}), "given 2 times"));
}

TEST_CASE("a probe needs no image and takes none") {
  const Parsed parsed = parse({"--probe", "--kvm", "/dev/other", "--stats", "host.json"});
  REQUIRE(parsed.has_value());
  const auto* const request = std::get_if<ProbeHost>(&*parsed);
  REQUIRE(request != nullptr);
  CHECK(request->kvm_device == "/dev/other");
  CHECK(request->stats == "host.json");
  CHECK(contains(refuse({"--probe"}), "runs no guest"));
  CHECK(contains(refuse_bare({}), "nothing to run"));
}

TEST_CASE("stepping records everything, needs no trace file, and has the screen to itself") {
  CHECK_FALSE(accept({}).step);
  const Config plain = accept({"--step"});
  CHECK(plain.step);
  CHECK(plain.trace_level == abi::TraceLevel::all);
  CHECK_FALSE(plain.trace.has_value());
  CHECK(accept({"--step", "--live", "on"}).live == LiveMode::off);
  CHECK(accept({"--step", "--trace-level", "ranges"}).trace_level == abi::TraceLevel::ranges);
  CHECK(accept({"--step", "--trace", "t"}).trace_level == abi::TraceLevel::all);
  CHECK(accept({"--trace", "t"}).trace_level == abi::TraceLevel::ranges);
  CHECK(contains(refuse({"--trace-level", "all"}), "--trace-level: needs --trace FILE"));
  CHECK(contains(refuse({"--trace-size", "1M"}), "--trace-size: needs --trace FILE"));
  CHECK(contains(refuse({"--step", "--trace-size", "1M"}), "--step"));
  CHECK(contains(refuse({"--trace-start", "off"}), "needs --trace FILE"));
  CHECK(contains(refuse({"--trace-start", "off", "--trace", "t"}), "--control or --gdb"));
  CHECK(contains(refuse({"--trace-start", "off", "--trace", "t", "--control", "c", "--step"}),
                 "leave out --step"));
  CHECK(contains(refuse({"--trace-start", "later", "--trace", "t"}), "--trace-start"));
  CHECK(contains(refuse({"--step", "--trace", "t", "--trace-size", "1M"}), "--step"));
}

TEST_CASE("whether a guest tells of what it does, and whether that is recorded at once") {
  struct Case {
    std::vector<std::string> options;
    bool records, may_record, guest_is_traced;
  };
  for (const Case& one :
       {Case{{}, false, false, false}, Case{{"--trace", "t"}, true, true, true},
        Case{{"--step"}, true, true, true}, Case{{"--control", "c"}, false, true, false},
        Case{{"--control", "c", "--trace-level", "all"}, false, true, true},
        Case{{"--control", "c", "--trace", "t"}, true, true, true},
        Case{{"--control", "c", "--trace", "t", "--trace-start", "off"}, false, true, true},
        Case{{"--gdb", "1", "--trace", "t", "--trace-start", "off"}, false, true, true}}) {
    const Config config = accept(one.options);
    CAPTURE(one.options.size());
    CHECK(config.records() == one.records);
    CHECK(config.may_record() == one.may_record);
    CHECK(config.guest_is_traced == one.guest_is_traced);
  }
}

TEST_CASE("a host can behave as every version of the ABI that there is, and as no other") {
  for (unsigned minor = 0; minor <= abi::version_minor; ++minor) {
    CHECK(accept({"--abi", "1." + std::to_string(minor)}).abi_minor == minor);
  }
  CHECK(contains(refuse({"--abi", "1." + std::to_string(abi::version_minor + 1)}), "not one of"));
  CHECK(accept({}).abi_minor == abi::version_minor);
}
