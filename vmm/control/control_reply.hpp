// SPDX-License-Identifier: MIT
// What a request is answered with: at once, or when something has happened.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <utility>

namespace vmm {

struct ControlReply {
  // Asked at once and whenever something may have happened, until there is an answer. Its end is
  // the end of the wish.
  using Later = std::function<std::optional<std::string>()>;

  ControlReply(std::string now) : text(std::move(now)) {}
  ControlReply(Later when) : later(std::move(when)) {}

  std::string text; // when there is no `later`
  Later later;
};

} // namespace vmm
