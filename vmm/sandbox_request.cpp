// SPDX-License-Identifier: MIT
#include "vmm/sandbox_request.hpp"

#include "shared/file_call.hpp"
#include "shared/socket_call.hpp"
#include "vmm/control/control_socket.hpp"
#include "vmm/io/file.hpp"
#include "vmm/io/output_place.hpp"
#include "vmm/profile/program_code.hpp"
#include "vmm/record/trace_writer.hpp"

namespace vmm {

namespace {

// Fewer would let a program that is linked dynamically fail in ways that tell nobody why.
constexpr unsigned least_program_files = 8;

void add_metrics(const MetricsRequest& metrics, SandboxOptions& options) {
  using enum MetricsForm;
  switch (metrics.form) {
  case file:
    options.features.add(SandboxFeature::metrics_file);
    ++options.descriptors_to_come;
    // Where links lead; a place that is none is told when it is opened.
    if (const auto place = find_output_place("--metrics", metrics.path)) {
      options.new_files.push_back(place->folder);
    }
    break;
  case lines:
    options.features.add(SandboxFeature::metrics_lines);
    break;
  case socket:
    options.features.add(SandboxFeature::metrics_socket);
    ++options.descriptors_to_come;
    options.folders.push_back(folder_of(metrics.path));
    break;
  }
}

} // namespace

SandboxOptions sandbox_request(const Config& config, const RunFiles& files) {
  const auto& [stats_file, profile_file, core_file] = files;
  SandboxOptions options;
  options.mode = config.sandbox;
  if (stats_file) {
    options.features.add(SandboxFeature::stats_file);
  }
  if (config.profile_hz != 0) {
    options.features.add(SandboxFeature::profile);
  }
  for (const auto* const file : {&stats_file, &profile_file}) {
    if (const auto folder = *file ? (*file)->folder() : std::nullopt) {
      options.folders.push_back(*folder);
    }
  }
  options.longest_file_bytes = TraceWriter::max_file_bytes;
  if (core_file) {
    options.features.add(SandboxFeature::core_file);
    options.folders.push_back(core_file->folder());
    // Holes count, too: all of memory, and what programs see of it at other addresses.
    options.longest_file_bytes += 2 * config.mem_bytes;
  }
  if (config.control) {
    options.features.add(SandboxFeature::control_socket);
    options.descriptors_to_come += ControlSocket::max_clients + 1; // one that is refused
    options.folders.push_back(folder_of(*config.control));
  }
  if (config.may_record()) {
    options.features.add(SandboxFeature::trace);
  }
  if (config.may_record() && (config.control || config.gdb)) {
    options.features.add(SandboxFeature::trace_later);
    // What clients have handed over, one that is begun and one that is given up.
    options.descriptors_to_come += ControlSocket::max_clients + 2;
  }
  if (config.pressure != PressureUse::off) {
    options.features.add(SandboxFeature::pressure);
  }
  if (config.metrics) {
    add_metrics(*config.metrics, options);
  }
  if (config.gdb) {
    options.features.add(SandboxFeature::debugger);
    options.descriptors_to_come += 2; // a debugger's connection and one that is refused
    if (!config.gdb->path.empty()) {
      options.folders.push_back(folder_of(config.gdb->path));
    }
  }
  if (config.step) {
    options.features.add(SandboxFeature::terminal_input);
  }
  if (config.runs_program()) {
    options.features.add(SandboxFeature::program);
    options.descriptors_to_come += abi::max_open_files;
    options.least_descriptors_to_come += least_program_files;
    if (config.profile_lines) {
      options.descriptors_to_come += ProgramCode::most_debug_files;
    }
    options.readable.push_back(config.program.root_directory());
    if (!config.network.listens.empty()) {
      options.features.add(SandboxFeature::listen);
    }
    for (const ConnectRequest& connect : config.network.connects) {
      options.features.add(SandboxFeature::connect);
      options.connect_ports.push_back(connect.port);
    }
    if (config.network.any()) {
      options.descriptors_to_come += abi::max_sockets;
    }
    for (const ProgramMount& bind : config.program.binds) {
      const bool changes = bind.access == MountAccess::read_write;
      (changes ? options.changeable : options.readable).push_back(bind.host);
      if (changes) {
        options.features.add(SandboxFeature::program_changes_files);
      }
    }
  }
  return options;
}

} // namespace vmm
