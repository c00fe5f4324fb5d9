// SPDX-License-Identifier: MIT
#include "vmm/run_files.hpp"

#include <filesystem>
#include <system_error>
#include <utility>
#include <vector>

#include "vmm/boot/image_symbols.hpp"
#include "vmm/io/shared_files.hpp"

namespace vmm {

Result<void> open_output(const char* option, const std::optional<std::string>& path,
                         std::optional<OutputFile>& file) {
  if (path) {
    EBB_TRY_ASSIGN(opened, OutputFile::open(option, *path));
    file.emplace(std::move(opened));
  }
  return {};
}

Result<void> keep_files_apart(const Config& config,
                              const std::optional<std::string>& program_file) {
  using Use = NamedFile::Use;
  std::vector<NamedFile> files{{"the image", config.image, Use::read}};
  const auto add = [&](const char* what, const std::optional<std::string>& path, Use use) {
    if (path) {
      files.push_back({what, *path, use});
    }
  };
  std::error_code none; // then nothing is there
  if (const std::string symbols = symbols_beside(config.image);
      symbols != config.image && std::filesystem::exists(symbols, none)) {
    add("the image's symbols", symbols, Use::read);
  }
  add("the program", program_file, Use::read);
  add("--input", config.input, Use::read);
  add("--config", config.config_file, Use::read);
  add("--stats", config.stats, Use::written);
  add("--trace", config.trace, Use::written);
  add("--core", config.core, Use::written);
  add("--profile-out", config.profile_out, Use::written);
  add("--control", config.control, Use::written);
  if (config.metrics) {
    add("--metrics", config.metrics->path, Use::written);
  }
  if (config.gdb && !config.gdb->path.empty()) {
    add("--gdb", config.gdb->path, Use::written);
  }
  return refuse_shared_files(files);
}

} // namespace vmm
