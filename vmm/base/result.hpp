// SPDX-License-Identifier: MIT
// Host errors are values: Result<T> carries a T or an Error with enough context for one line that
// a user can act on. A guest's misbehaviour is never an Error, it is answered in the protocol.
#pragma once

#include <cerrno>
#include <cstdint>
#include <expected>
#include <string>
#include <system_error>
#include <utility>

#include <fmt/core.h>

namespace vmm {

// Who can mend it; decides the exit status of the process.
enum class ErrorClass : std::uint8_t {
  user,        // bad option, bad file: exit status 2
  environment, // the host lacks something: exit status 4
};

struct Error {
  ErrorClass error_class = ErrorClass::environment;
  std::string message; // what, where, what to do; one line, no trailing period or newline
};

template <typename T> using Result = std::expected<T, Error>;

// A mistake in what the user gave us.
template <typename... Args>
[[nodiscard]] std::unexpected<Error> user_error(fmt::format_string<Args...> format,
                                                Args&&... args) {
  return std::unexpected(Error{ErrorClass::user, fmt::format(format, std::forward<Args>(args)...)});
}

// Something the host does not offer or refused, not described by errno.
template <typename... Args>
[[nodiscard]] std::unexpected<Error> environment_error(fmt::format_string<Args...> format,
                                                       Args&&... args) {
  return std::unexpected(
      Error{ErrorClass::environment, fmt::format(format, std::forward<Args>(args)...)});
}

// errno's text; unlike strerror, for any thread.
[[nodiscard]] inline std::string errno_text(int error) {
  std::string text = std::generic_category().message(error);
  if (error == EMFILE) {
    text += "; raise the limit with ulimit -n";
  }
  return text;
}

// A failed system call; appends errno's text. Call before anything can change errno.
template <typename... Args>
[[nodiscard]] std::unexpected<Error> system_error(fmt::format_string<Args...> format,
                                                  Args&&... args) {
  const int saved = errno;
  return std::unexpected(Error{
      ErrorClass::environment,
      fmt::format("{}: {}", fmt::format(format, std::forward<Args>(args)...), errno_text(saved))});
}

} // namespace vmm

// Returns the error of a Result from the enclosing function.
#define EBB_TRY(expression)                                                                        \
  do {                                                                                             \
    if (auto ebb_result = (expression); !ebb_result)                                               \
      return std::unexpected(std::move(ebb_result.error()));                                       \
  } while (false)

// NOLINTBEGIN(bugprone-macro-parentheses): a name to declare cannot be parenthesised
// Declares `variable` from a Result's value, or returns its error from the enclosing function.
#define EBB_TRY_ASSIGN(variable, expression)                                                       \
  auto variable##_result = (expression);                                                           \
  if (!variable##_result)                                                                          \
    return std::unexpected(std::move(variable##_result.error()));                                  \
  auto variable = std::move(*variable##_result)
// NOLINTEND(bugprone-macro-parentheses)
