// SPDX-License-Identifier: MIT
// Any words as a command line: one line that says what is wrong, or a configuration in its limits.
#include <string>
#include <vector>

#include "tests/fuzz/fuzz_bytes.hpp"
#include "tests/support/no_file.hpp"
#include "vmm/settings/config.hpp"
#include "vmm/settings/guest_arguments.hpp"

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  // Words are separated by NUL, as the kernel passes them.
  std::vector<std::string> words{"vmm", {}};
  for (const std::uint8_t byte : std::span(data, size)) {
    if (byte == 0 || byte == '\n') {
      words.emplace_back();
    } else {
      words.back() += static_cast<char>(byte);
    }
  }
  std::vector<const char*> argv;
  for (const std::string& word : words) {
    argv.push_back(word.c_str());
  }
  const auto parsed = vmm::parse_command_line(argv, test_support::no_file);
  if (!parsed) {
    fuzz::require(parsed.error().error_class == vmm::ErrorClass::user);
    fuzz::require(!parsed.error().message.empty() &&
                  parsed.error().message.find('\n') == std::string::npos);
    return 0;
  }
  if (const auto* const config = std::get_if<vmm::Config>(&*parsed)) {
    fuzz::require(config->mem_bytes >= vmm::min_guest_bytes &&
                  config->mem_bytes <= vmm::max_guest_bytes);
    fuzz::require(config->cpus >= 1 && config->cpus <= vmm::max_cpus);
    fuzz::require(config->report.order <= abi::max_order);
    fuzz::require(vmm::encode_guest_args(*config).size() <= abi::boot_args_bytes);
  }
  return 0;
}
