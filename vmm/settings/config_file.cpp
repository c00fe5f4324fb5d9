// SPDX-License-Identifier: MIT
#include "vmm/settings/config_file.hpp"

#include <algorithm>
#include <cstddef>
#include <iterator>
#include <optional>
#include <utility>

#define TOML_EXCEPTIONS 0
#define TOML_ENABLE_FORMATTERS 0
#include <toml++/toml.h>

#include "vmm/base/json.hpp"
#include "vmm/base/version.hpp"

namespace vmm {
namespace {

// What follows from where the file was named cannot be in it.
bool is_for_command_line_alone(std::string_view option) {
  return option == "--config" || option == "--print-config";
}

std::string_view key_of(const OptionShape& shape) {
  return std::string_view(shape.name).substr(2);
}

// A file's name and the place of something in it, as compilers say it.
std::string place(const std::string& path, const toml::source_position& at) {
  return fmt::format("{}:{}:{}", path, at.line, at.column);
}

// A value that a command line would have as a word.
std::optional<std::string> word_of(const toml::node& node) {
  if (const auto* const text = node.as_string()) {
    return text->get();
  }
  if (const auto* const number = node.as_integer()) {
    return fmt::format("{}", number->get());
  }
  return std::nullopt;
}

// A text or a number, or a list of them.
Result<std::vector<std::string>> words_of(const toml::node& node, std::string_view key,
                                          const std::string& where) {
  std::vector<std::string> words;
  const auto add = [&](const toml::node& each) {
    auto word = word_of(each);
    if (!word || word->find('\0') != std::string::npos) {
      return false;
    }
    words.push_back(std::move(*word));
    return true;
  };
  const auto* const list = node.as_array();
  const bool all =
      list == nullptr
          ? add(node)
          : std::ranges::all_of(*list, [&](const toml::node& each) { return add(each); });
  if (!all) {
    return user_error("{}: {}: must be a text, such as {} = \"...\", or a list of texts", where,
                      key, key);
  }
  return words;
}

// What a flag's being given means on a command line; nothing when it is false.
Result<std::vector<std::string>> flag_of(const toml::node& node, std::string_view key,
                                         const std::string& where) {
  const auto* const given = node.as_boolean();
  if (given == nullptr) {
    return user_error("{}: {}: must be true or false", where, key);
  }
  return given->get() ? std::vector<std::string>{"true"} : std::vector<std::string>{};
}

Result<std::vector<std::string>> values_of(const toml::node& node, const OptionShape& shape,
                                           const std::string& where) {
  if (shape.use == OptionUse::flag) {
    return flag_of(node, key_of(shape), where);
  }
  if (shape.use == OptionUse::once && node.is_array()) {
    return user_error("{}: {}: must be one value, not a list", where, key_of(shape));
  }
  EBB_TRY_ASSIGN(words, words_of(node, key_of(shape), where));
  if (shape.use == OptionUse::once && words.front().empty()) {
    return user_error("{}: {}: the value is empty", where, key_of(shape));
  }
  return words;
}

// A text as TOML writes it, or a list of them: as JSON does, but for the one control character that
// JSON lets pass.
std::string quoted(const std::vector<std::string>& words, OptionUse use) {
  Json value = Json::array();
  for (const std::string& word : words) {
    value.push_back(Json(word));
  }
  const std::string text = (use == OptionUse::often ? value : Json(words.front())).line();
  std::string escaped;
  for (const char each : text) {
    if (each == '\x7f') {
      escaped += "\\u007f";
    } else {
      escaped += each;
    }
  }
  return escaped;
}

// Neither the file's name nor that it was to be printed is a part of what is asked for.
bool asks_for_the_same(const RunRequest& one, const RunRequest& other,
                       std::span<const OptionShape> shapes) {
  for (std::size_t index = 0; index < shapes.size(); ++index) {
    const auto& values = one.line.values[index];
    const auto& others = other.line.values[index];
    const bool same =
        shapes[index].use == OptionUse::flag ? values.empty() == others.empty() : values == others;
    if (!same && !is_for_command_line_alone(shapes[index].name)) {
      return false;
    }
  }
  return one.program == other.program && one.line.image == other.line.image;
}

std::string comment(const OptionShape& shape) {
  return fmt::format("# {}{}{}: {}\n", key_of(shape), shape.use == OptionUse::flag ? "" : " = ",
                     shape.use == OptionUse::flag ? "" : shape.type, shape.help);
}

} // namespace

Result<RunRequest> parse_config_file(std::string_view text, const std::string& path,
                                     std::span<const OptionShape> shapes) {
  const toml::parse_result parsed = toml::parse(text, path);
  if (!parsed) {
    const toml::parse_error& error = parsed.error();
    std::string what(error.description());
    std::ranges::replace(what, '\n', ' ');
    return user_error("{}: {}", place(path, error.source().begin), what);
  }
  RunRequest wanted;
  wanted.line.values.resize(shapes.size());
  for (const auto& [name, node] : parsed.table()) {
    const std::string_view key = name.str();
    const std::string where = place(path, name.source().begin);
    if (key == "image") {
      EBB_TRY_ASSIGN(image, words_of(node, key, where));
      if (node.is_array() || image.front().empty()) {
        return user_error("{}: image: must be the name of a file", where);
      }
      wanted.line.image = std::move(image.front());
      continue;
    }
    if (key == "program") {
      EBB_TRY_ASSIGN(program, words_of(node, key, where));
      if (program.empty()) {
        return user_error("{}: program: the list is empty", where);
      }
      wanted.program = std::move(program);
      continue;
    }
    const auto shape = std::ranges::find(shapes, key, key_of);
    if (shape == shapes.end()) {
      return user_error("{}: {:?}: no such option; the names are those of vmm --help", where, key);
    }
    if (is_for_command_line_alone(shape->name)) {
      return user_error("{}: {}: is for the command line alone", where, key);
    }
    EBB_TRY_ASSIGN(values, values_of(node, *shape, where));
    wanted.line.values[static_cast<std::size_t>(shape - shapes.begin())] = std::move(values);
  }
  return wanted;
}

Result<std::string> render_config_file(const RunRequest& wanted,
                                       std::span<const OptionShape> shapes) {
  std::string text = fmt::format("# vmm {}: for vmm --config FILE\n", version);
  if (wanted.line.image.empty()) {
    text += "# image = FILE: the one beside the vmm\n";
  } else {
    text += fmt::format("image = {}\n", quoted({wanted.line.image}, OptionUse::once));
  }
  if (wanted.program.empty()) {
    text += "# program = [PROGRAM, ARGUMENT...]: run it instead of a workload\n";
  } else {
    text += fmt::format("program = {}\n", quoted(wanted.program, OptionUse::often));
  }
  const char* group = "";
  for (std::size_t index = 0; index < shapes.size(); ++index) {
    const OptionShape& shape = shapes[index];
    if (is_for_command_line_alone(shape.name)) {
      continue;
    }
    if (std::string_view(group) != shape.group) {
      group = shape.group;
      text += fmt::format("\n# {}\n", group);
    }
    const std::vector<std::string>& values = wanted.line.values[index];
    if (values.empty()) {
      text += comment(shape);
    } else if (shape.use == OptionUse::flag) {
      text += fmt::format("{} = true\n", key_of(shape));
    } else {
      text += fmt::format("{} = {}\n", key_of(shape), quoted(values, shape.use));
    }
  }
  // That it says what was meant is seen by reading it.
  const auto again = parse_config_file(text, "--print-config", shapes);
  if (!again || !asks_for_the_same(*again, wanted, shapes)) {
    return user_error("--print-config: a value is no UTF-8, which a file of options has to be");
  }
  return text;
}

} // namespace vmm
