// SPDX-License-Identifier: MIT
#include "shared/report_channel.hpp"

#include <array>
#include <random>

#include <doctest/doctest.h>

TEST_CASE("outcomes of a batch, all at once: as one by one, for every length") {
  std::mt19937_64 random(3);
  for (std::uint32_t count = 0; count <= abi::max_batch_ranges; ++count) {
    CAPTURE(count);
    std::array<abi::Outcome, abi::max_batch_ranges> outcomes{};
    abi::CompletionEntry one_by_one;
    abi::CompletionEntry at_once;
    for (std::uint32_t index = 0; index < count; ++index) {
      outcomes[index] = static_cast<abi::Outcome>(random() % 3);
      one_by_one.set_outcome(index, outcomes[index]);
    }
    at_once.set_outcomes(outcomes, count);
    CHECK(at_once.outcomes == one_by_one.outcomes);
  }
}

TEST_CASE("outcomes of a batch, all at once: bytes behind the last stay as they were") {
  abi::CompletionEntry answer;
  answer.outcomes.fill(0xff);
  std::array<abi::Outcome, abi::max_batch_ranges> outcomes{};
  outcomes.fill(abi::Outcome::discarded);
  answer.set_outcomes(outcomes, 5);
  CHECK(answer.outcome(4) == abi::Outcome::discarded);
  CHECK(answer.outcomes[1] == static_cast<unsigned>(abi::Outcome::discarded));
  CHECK(answer.outcomes[2] == 0xff);
}
