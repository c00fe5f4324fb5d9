// SPDX-License-Identifier: MIT
// What this host offers to guests and their free memory, what each thing costs, and what follows
// where it is missing: `vmm --probe`. Measured where a measurement is possible, because kernels
// report more than works.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "vmm/base/json.hpp"
#include "vmm/base/result.hpp"

namespace vmm {

struct HostFeature {
  std::string key;  // in JSON; never renamed
  std::string name; // for people
  bool available = false;
  std::optional<double> ns; // mean time of one use; empty: not measured
  std::string detail;       // of what is there, or why it is not; may be empty
  std::string consequence;  // of its absence
};

struct HostReport {
  std::string kernel; // release
  std::string device; // of KVM
  // "svm", "vmx", "pvm" or "none"
  std::string flavour;
  std::string under; // signature of the hypervisor that this host runs under; empty: bare metal
  std::vector<HostFeature> features;
};

// Takes under a second, or some seconds where everything is emulated. What cannot be measured is
// reported as missing, with the reason.
[[nodiscard]] HostReport probe_host(const std::string& kvm_device);

// A table of lines that end in newlines.
[[nodiscard]] std::string render(const HostReport& report);
[[nodiscard]] Json to_json(const HostReport& report);
// Errors as OutputFile.
[[nodiscard]] Result<void> write_report(const HostReport& report, const std::string& path);

} // namespace vmm
