// SPDX-License-Identifier: MIT
#include "vmm/probe/probe.hpp"

#include <sys/mman.h>
#include <sys/utsname.h>

#include <chrono>
#include <cstring>
#include <fstream>
#include <functional>
#include <memory>
#include <span>
#include <string_view>
#include <system_error>

#include <fmt/core.h>

#include "shared/address.hpp"
#include "vmm/base/units.hpp"
#include "vmm/base/version.hpp"
#include "vmm/hints/discard_calls.hpp"
#include "vmm/io/output_file.hpp"
#include "vmm/kvm/host_cpu.hpp"
#include "vmm/kvm/kvm.hpp"
#include "vmm/memory/huge_pages.hpp"
#include "vmm/probe/probe_vm.hpp"
#include "vmm/report/stats.hpp"
#include "vmm/sandbox/landlock.hpp"
#include "vmm/sandbox/seccomp_filter.hpp"

namespace vmm {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::size_t scratch_bytes = std::size_t{8} << 20;
constexpr std::size_t small = abi::page_bytes;
constexpr std::size_t large = abi::huge_page_bytes;

// Scratch memory that discards are tried on: private, or of a file of its own.
class Scratch {
 public:
  explicit Scratch(int fd)
      : address_(::mmap(nullptr, scratch_bytes, PROT_READ | PROT_WRITE,
                        fd < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED, fd, 0)) {}
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  ~Scratch() {
    if (valid()) {
      ::munmap(address_, scratch_bytes);
    }
  }

  [[nodiscard]] bool valid() const { return address_ != MAP_FAILED; }
  [[nodiscard]] std::byte* at(std::size_t offset) const {
    return static_cast<std::byte*>(address_) + offset;
  }
  // Makes all of it resident.
  void touch() const { std::memset(address_, 1, scratch_bytes); }

 private:
  void* address_;
};

// Mean time of a call over the scratch memory in steps; `call` returns 0 or errno.
struct Timing {
  std::optional<double> ns;
  int error = 0;
};

Timing time_steps(const Scratch& scratch, std::size_t step,
                  const std::function<int(std::size_t offset)>& call) {
  if (!scratch.valid()) {
    return {std::nullopt, ENOMEM};
  }
  scratch.touch();
  const auto start = Clock::now();
  for (std::size_t offset = 0; offset < scratch_bytes; offset += step) {
    if (const int error = call(offset); error != 0) {
      return {std::nullopt, error};
    }
  }
  const std::chrono::duration<double, std::nano> spent = Clock::now() - start;
  return {spent.count() / static_cast<double>(scratch_bytes / step), 0};
}

HostFeature discard_feature(std::string key, std::string name, const Timing& timing,
                            std::string consequence) {
  HostFeature feature{.key = std::move(key),
                      .name = std::move(name),
                      .available = timing.ns.has_value(),
                      .ns = timing.ns,
                      .detail = {},
                      .consequence = std::move(consequence)};
  if (!feature.available) {
    feature.detail = std::generic_category().message(timing.error);
  }
  return feature;
}

void add_discards(std::vector<HostFeature>& features) {
  SystemDiscardCalls calls;
  const Scratch anonymous(-1);
  const auto madvise = [&](std::size_t step, int advice) {
    return time_steps(anonymous, step, [&, step, advice](std::size_t offset) {
      return calls.madvise(anonymous.at(offset), step, advice);
    });
  };
  constexpr auto* no_discard = "no free memory goes back with --backing thp or 4k";
  features.push_back(discard_feature("madvise_4k", "MADV_DONTNEED, 4 KiB",
                                     madvise(small, MADV_DONTNEED), no_discard));
  features.push_back(discard_feature("madvise_2m", "MADV_DONTNEED, 2 MiB",
                                     madvise(large, MADV_DONTNEED), no_discard));
  features.push_back(discard_feature("madvise_free_2m", "MADV_FREE, 2 MiB",
                                     madvise(large, MADV_FREE), "--discard free does nothing"));

  const SelfPidfd self = SelfPidfd::probe(calls);
  constexpr std::size_t vector_length = 256;
  std::vector<iovec> ranges(vector_length);
  Timing vectored{std::nullopt, EINVAL};
  if (self.works()) {
    vectored = time_steps(anonymous, vector_length * small, [&](std::size_t offset) {
      for (std::size_t i = 0; i < ranges.size(); ++i) {
        ranges[i] = {anonymous.at(offset + i * small), small};
      }
      const auto advised = calls.process_madvise(self.number(), ranges, MADV_DONTNEED);
      return advised ? 0 : advised.error();
    });
    if (vectored.ns) {
      *vectored.ns /= vector_length;
    }
  }
  features.push_back(discard_feature("process_madvise", "process_madvise, per 4 KiB of 256",
                                     vectored,
                                     "one system call for each range (needs Linux 6.13)"));

  const UniqueFd file(::memfd_create("probe", MFD_CLOEXEC));
  Timing punched{std::nullopt, errno};
  if (file.valid() && ::ftruncate(file.get(), scratch_bytes) == 0) {
    const Scratch shared(file.get());
    punched = time_steps(shared, large, [&](std::size_t offset) {
      return calls.punch_hole(file.get(), offset, large);
    });
  }
  features.push_back(discard_feature("punch_hole_2m", "hole punching of memfd, 2 MiB", punched,
                                     "no free memory goes back with --backing memfd"));
}

std::string first_line(const char* path) {
  std::string line;
  std::ifstream file(path);
  std::getline(file, line);
  return line;
}

void add_memory(std::vector<HostFeature>& features) {
  const std::string thp = first_line("/sys/kernel/mm/transparent_hugepage/enabled");
  const bool has_huge_pages = kernel_has_huge_pages();
  features.push_back({"thp", "transparent huge pages",
                      has_huge_pages && thp.find("[never]") == std::string::npos, std::nullopt,
                      !has_huge_pages ? "not in this kernel"
                      : thp.empty()   ? "when is not known: no /sys"
                                      : thp,
                      "--backing thp uses 4 KiB pages: more faults, slower discards"});
  const std::string pool = first_line("/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages");
  features.push_back({"hugetlb", "reserved 2 MiB pages", !pool.empty() && pool != "0", std::nullopt,
                      pool.empty() ? "not in this kernel" : pool + " in the pool",
                      "--backing hugetlb fails until 'sysctl vm.nr_hugepages=N'"});
}

HostFeature transport_feature(std::string key, std::string name,
                              const Result<std::optional<double>>& time, std::string consequence) {
  HostFeature feature{.key = std::move(key),
                      .name = std::move(name),
                      .available = time && *time,
                      .ns = time ? *time : std::nullopt,
                      .detail = {},
                      .consequence = std::move(consequence)};
  if (!time) {
    feature.detail = time.error().message;
  } else if (!*time) {
    feature.detail = "not delivered";
  }
  return feature;
}

void add_transports(std::vector<HostFeature>& features, const Kvm& kvm) {
  ProbeVm probe(kvm);
  features.push_back(transport_feature("run_without_entry", "KVM_RUN without entering",
                                       probe.run_without_entry(), "no guest runs"));
  features.push_back(transport_feature("pio", "pio round trip", probe.port(), "no guest runs"));
  features.push_back(transport_feature("ioeventfd", "pio to ioeventfd", probe.port_to_eventfd(),
                                       "every doorbell leaves the kernel"));
  const abi::Doorbell native = hypercall_instruction();
  features.push_back(transport_feature(
      "vmcall", native == abi::Doorbell::vmmcall ? "vmmcall round trip" : "vmcall round trip",
      probe.call(native), "--transport vmcall fails; use pio"));
}

void add_capability(std::vector<HostFeature>& features, const Kvm& kvm, long capability,
                    std::string key, std::string name, std::string consequence) {
  features.push_back({std::move(key),
                      std::move(name),
                      kvm.extension(capability) > 0,
                      std::nullopt,
                      {},
                      std::move(consequence)});
}

void add_confinement(std::vector<HostFeature>& features) {
  const std::string reason = why_no_seccomp();
  features.push_back({"seccomp", "seccomp filters", reason.empty(), std::nullopt, reason,
                      "guests run with --sandbox off only"});
  const unsigned version = landlock_version();
  features.push_back({"landlock", "Landlock", version > 0, std::nullopt,
                      version > 0 ? fmt::format("version {}", version) : std::string{},
                      "with --stats or --control the vmm can rename and remove its user's files"});
}

std::string flavour() {
  const std::string_view module = kvm_module();
  if (module == "kvm_pvm") {
    return "pvm";
  }
  if (module == "kvm_amd") {
    return "svm";
  }
  return module == "kvm_intel" ? "vmx" : "unknown";
}

} // namespace

HostReport probe_host(const std::string& kvm_device) {
  HostReport report;
  utsname names{};
  if (::uname(&names) == 0) {
    report.kernel = names.release;
  }
  report.device = kvm_device;
  report.under = hypervisor_signature();
  const auto kvm = Kvm::open(kvm_device);
  report.flavour = kvm ? flavour() : "none";
  report.features.push_back({"kvm", "KVM", kvm.has_value(), std::nullopt,
                             kvm ? "" : kvm.error().message,
                             "no guest runs here; tools/nested emulates a machine with KVM"});
  if (kvm) {
    add_transports(report.features, *kvm);
    add_capability(report.features, *kvm, KVM_CAP_IRQFD, "irqfd", "irqfd",
                   "no interrupts without a vCPU exit");
    add_capability(report.features, *kvm, KVM_CAP_SPLIT_IRQCHIP, "split_irqchip",
                   "in-kernel local APIC", "one vCPU, which waits by hypercall");
    add_capability(report.features, *kvm, KVM_CAP_DIRTY_LOG_RING, "dirty_ring", "dirty ring",
                   "dirty pages are found by bitmap only");
  }
  add_discards(report.features);
  add_memory(report.features);
  add_confinement(report.features);
  return report;
}

std::string render(const HostReport& report) {
  std::string text =
      fmt::format("vmm {} on Linux {}, KVM: {}{}\n\n", version, report.kernel, report.flavour,
                  report.under.empty() ? "" : " (nested, under " + report.under + ")");
  for (const HostFeature& feature : report.features) {
    std::string rest = feature.detail;
    if (!feature.available) {
      rest += (rest.empty() ? "" : ": ") + feature.consequence;
    }
    text += fmt::format("  {:<36} {:<4} {:>10}  {}", feature.name, feature.available ? "yes" : "no",
                        feature.ns ? human_duration(*feature.ns / 1e9) : "", rest);
    text.erase(text.find_last_not_of(' ') + 1);
    text += '\n';
  }
  return text;
}

Json to_json(const HostReport& report) {
  Json json;
  json["version"] = version;
  json["kernel"] = report.kernel;
  json["kvm"] = {{"device", report.device}, {"flavour", report.flavour}};
  json["under"] = report.under.empty() ? Json(nullptr) : Json(report.under);
  for (const HostFeature& feature : report.features) {
    json["features"][feature.key] = {{"available", feature.available},
                                     {"ns", feature.ns},
                                     {"detail", feature.detail},
                                     {"if_missing", feature.consequence}};
  }
  return json;
}

Result<void> write_report(const HostReport& report, const std::string& path) {
  EBB_TRY_ASSIGN(file, OutputFile::open("--stats", path));
  return file.write(to_text(to_json(report)));
}

} // namespace vmm
