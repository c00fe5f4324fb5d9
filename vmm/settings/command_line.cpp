// SPDX-License-Identifier: MIT
#include "vmm/settings/command_line.hpp"

#include <memory>

#include <CLI/CLI.hpp>

#include "shared/abi_version.hpp"
#include "vmm/base/version.hpp"

namespace vmm {
namespace {

constexpr std::size_t help_column = 30;

class HelpFormatter : public CLI::Formatter {
 public:
  [[nodiscard]] std::string make_usage(const CLI::App* /*app*/,
                                       std::string /*name*/) const override {
    return "Usage: vmm [OPTIONS] [IMAGE]\n"
           "       vmm [OPTIONS] [IMAGE] -- PROGRAM [ARGUMENT...]\n";
  }
};

// One line for each way in which CLI11 can refuse the shape of a command line.
std::string describe(const CLI::ParseError& error, const std::vector<std::string>& extras) {
  for (const std::string& extra : extras) {
    if (extra.starts_with("-") && extra.size() > 1) {
      return fmt::format("{:?}: no such option; see vmm --help", extra);
    }
  }
  if (!extras.empty()) {
    return fmt::format("{:?}: unexpected argument; there is one guest image", extras.front());
  }
  const std::string_view text = error.what();
  if (error.get_name() == "ArgumentMismatch" && text.starts_with('-')) {
    return fmt::format("{}: needs a value; see vmm --help", text.substr(0, text.find(':')));
  }
  std::string line(text.substr(0, text.find('\n')));
  return line + "; see vmm --help";
}

CLI::Option* declare(CLI::App& app, const OptionShape& shape) {
  if (shape.use == OptionUse::flag) {
    return app.add_flag(shape.name, shape.help)->disable_flag_override()->group(shape.group);
  }
  CLI::Option* const option = app.add_option(shape.name, CLI::callback_t{}, shape.help);
  if (shape.use == OptionUse::often) {
    option->expected(1, -1); // as many as there are
  }
  // Every occurrence is kept, so that an option given twice can be named.
  return option->type_name(shape.type)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
      ->allow_extra_args(false)
      ->group(shape.group);
}

Result<void> check_count(const OptionShape& shape, const std::vector<std::string>& values) {
  if (shape.use != OptionUse::once) {
    return {};
  }
  if (values.size() > 1) {
    return user_error("{}: given {} times; give it once", shape.name, values.size());
  }
  if (values.size() == 1 && values.front().empty()) {
    return user_error("{}: the value is empty; see vmm --help", shape.name);
  }
  return {};
}

} // namespace

Result<std::variant<SplitLine, ShowText>> split_command_line(std::span<const char* const> argv,
                                                             std::span<const OptionShape> shapes,
                                                             const char* footer) {
  CLI::App app{"Boots a unikernel whose free memory goes back to the host.", "vmm"};
  app.set_version_flag("--version", fmt::format("vmm {} (guest ABI {}.{})", version,
                                                abi::version_major, abi::version_minor));
  const auto formatter = std::make_shared<HelpFormatter>();
  formatter->column_width(help_column);
  app.formatter(formatter);
  app.footer(footer);
  app.allow_extras();
  SplitLine line;
  app.add_option("IMAGE", line.image,
                 "Guest image, a file or the name of one beside the vmm [guest.bin]");
  std::vector<const CLI::Option*> options;
  for (const OptionShape& shape : shapes) {
    options.push_back(declare(app, shape));
  }
  try {
    app.parse(static_cast<int>(argv.size()), argv.data());
    if (const auto extras = app.remaining(); !extras.empty()) {
      return user_error("{}", describe(CLI::ExtrasError(extras), extras));
    }
  } catch (const CLI::CallForHelp&) {
    return ShowText{app.help()};
  } catch (const CLI::CallForVersion& show) {
    return ShowText{fmt::format("{}\n", show.what())};
  } catch (const CLI::ParseError& error) {
    return user_error("{}", describe(error, app.remaining()));
  }
  for (std::size_t i = 0; i < shapes.size(); ++i) {
    line.values.push_back(options[i]->results());
    EBB_TRY(check_count(shapes[i], line.values.back()));
  }
  return line;
}

} // namespace vmm
