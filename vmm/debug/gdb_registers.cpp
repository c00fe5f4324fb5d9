// SPDX-License-Identifier: MIT
#include "vmm/debug/gdb_registers.hpp"

#include <cstring>
#include <string_view>

#include <fmt/core.h>

namespace vmm {

namespace {

struct Field {
  std::size_t offset;
  std::size_t bytes;
};

struct Description {
  std::string xml;
  std::vector<Field> fields; // by register number
  std::size_t bytes = 0;     // of all
};

// Writes the description and notes where each register is.
class Describer {
 public:
  Describer() {
    out_.xml = "<?xml version=\"1.0\"?>\n<!DOCTYPE target SYSTEM \"gdb-target.dtd\">\n"
               "<target version=\"1.0\">\n<architecture>i386:x86-64</architecture>\n";
  }
  void open(std::string_view feature) {
    out_.xml += fmt::format("<feature name=\"{}\">\n", feature);
  }
  void close() { out_.xml += "</feature>\n"; }
  void text(std::string_view xml) { out_.xml += xml; }
  void add(std::string_view name, std::size_t offset, std::size_t bytes, std::string_view type,
           std::string_view group = {}) {
    out_.xml += fmt::format("<reg name=\"{}\" bitsize=\"{}\" type=\"{}\"{}/>\n", name, 8 * bytes,
                            type, group.empty() ? "" : fmt::format(" group=\"{}\"", group));
    out_.fields.push_back({offset, bytes});
    out_.bytes += bytes;
  }
  Description finish() {
    out_.xml += "</target>\n";
    return std::move(out_);
  }

 private:
  Description out_;
};

// Names and types are those that gdb knows as standard features (gdb manual, G.5.15).
Description describe() {
  using R = DebugRegisters;
  constexpr std::array general = {"rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rbp", "rsp",
                                  "r8",  "r9",  "r10", "r11", "r12", "r13", "r14", "r15"};
  constexpr std::array segments = {"cs", "ss", "ds", "es", "fs", "gs"};
  constexpr std::array x87_control = {"fctrl", "fstat", "ftag",  "fiseg",
                                      "fioff", "foseg", "fooff", "fop"};
  constexpr std::array control = {"cr0", "cr2", "cr3", "cr4", "efer"};
  Describer out;
  out.open("org.gnu.gdb.i386.core");
  for (std::size_t index = 0; index < general.size(); ++index) {
    const bool is_pointer = index == 6 || index == 7; // rbp, rsp
    out.add(general[index], offsetof(R, general) + 8 * index, 8, is_pointer ? "data_ptr" : "int64");
  }
  out.add("rip", offsetof(R, rip), 8, "code_ptr");
  out.add("eflags", offsetof(R, eflags), 4, "int32");
  for (std::size_t index = 0; index < segments.size(); ++index) {
    out.add(segments[index], offsetof(R, segments) + 4 * index, 4, "int32");
  }
  for (std::size_t index = 0; index < 8; ++index) {
    out.add(fmt::format("st{}", index), offsetof(R, x87) + 10 * index, 10, "i387_ext");
  }
  for (std::size_t index = 0; index < x87_control.size(); ++index) {
    out.add(x87_control[index], offsetof(R, x87_control) + 4 * index, 4, "int", "float");
  }
  out.close();
  out.open("org.gnu.gdb.i386.sse");
  out.text("<vector id=\"v4f\" type=\"ieee_single\" count=\"4\"/>\n"
           "<vector id=\"v2d\" type=\"ieee_double\" count=\"2\"/>\n"
           "<vector id=\"v16i8\" type=\"int8\" count=\"16\"/>\n"
           "<vector id=\"v8i16\" type=\"int16\" count=\"8\"/>\n"
           "<vector id=\"v4i32\" type=\"int32\" count=\"4\"/>\n"
           "<vector id=\"v2i64\" type=\"int64\" count=\"2\"/>\n"
           "<union id=\"vec128\">\n"
           "<field name=\"v4_float\" type=\"v4f\"/>\n"
           "<field name=\"v2_double\" type=\"v2d\"/>\n"
           "<field name=\"v16_int8\" type=\"v16i8\"/>\n"
           "<field name=\"v8_int16\" type=\"v8i16\"/>\n"
           "<field name=\"v4_int32\" type=\"v4i32\"/>\n"
           "<field name=\"v2_int64\" type=\"v2i64\"/>\n"
           "<field name=\"uint128\" type=\"uint128\"/>\n"
           "</union>\n");
  for (std::size_t index = 0; index < 16; ++index) {
    out.add(fmt::format("xmm{}", index), offsetof(R, xmm) + 16 * index, 16, "vec128");
  }
  out.add("mxcsr", offsetof(R, mxcsr), 4, "int32", "vector");
  out.close();
  out.open("org.gnu.gdb.i386.segments");
  out.add("fs_base", offsetof(R, fs_base), 8, "int64");
  out.add("gs_base", offsetof(R, gs_base), 8, "int64");
  out.close();
  out.open("ebb.system");
  for (std::size_t index = 0; index < control.size(); ++index) {
    out.add(control[index], offsetof(R, control) + 8 * index, 8, "int64", "system");
  }
  out.close();
  return out.finish();
}

const Description& description() {
  static const Description made = describe();
  return made;
}

std::span<std::byte> field_of(DebugRegisters& registers, const Field& field) {
  return std::as_writable_bytes(std::span(&registers, 1)).subspan(field.offset, field.bytes);
}

} // namespace

const std::string& gdb_target_xml() {
  return description().xml;
}

std::size_t gdb_register_count() {
  return description().fields.size();
}

std::vector<std::byte> gdb_encode(const DebugRegisters& registers) {
  std::vector<std::byte> data;
  data.reserve(description().bytes);
  for (std::size_t number = 0; number < gdb_register_count(); ++number) {
    const std::span<const std::byte> value = gdb_register(registers, number);
    data.insert(data.end(), value.begin(), value.end());
  }
  return data;
}

std::optional<DebugRegisters> gdb_decode(std::span<const std::byte> data) {
  if (data.size() != description().bytes) {
    return std::nullopt;
  }
  DebugRegisters registers;
  for (const Field& field : description().fields) {
    std::memcpy(field_of(registers, field).data(), data.data(), field.bytes);
    data = data.subspan(field.bytes);
  }
  return registers;
}

std::span<const std::byte> gdb_register(const DebugRegisters& registers, std::size_t number) {
  if (number >= gdb_register_count()) {
    return {};
  }
  const Field& field = description().fields[number];
  return std::as_bytes(std::span(&registers, 1)).subspan(field.offset, field.bytes);
}

bool gdb_set_register(DebugRegisters& registers, std::size_t number,
                      std::span<const std::byte> data) {
  if (number >= gdb_register_count() || data.size() != description().fields[number].bytes) {
    return false;
  }
  std::memcpy(field_of(registers, description().fields[number]).data(), data.data(), data.size());
  return true;
}

} // namespace vmm
