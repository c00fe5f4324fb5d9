// SPDX-License-Identifier: MIT
// How much of the free memory should stay for now, because it will be wanted again before its
// return pays: learnt without paying for it. A ladder of half-lives (cooling.hpp) is played through
// on paper, as ghosts, for all free memory and once more for what is free in large blocks: the
// holes between live pages are the first to be filled again. Each ghost hears how much memory is
// free, knows what it would have let go, how long that would have stayed away and how much of it
// would have been wanted back, and keeps the balance. One more lets nothing go: its is 0.
//
// What is done is the mean of what they do, each with a weight that doubles for a fixed amount of
// balance: the exponentially weighted forecaster of Cesa-Bianchi and Lugosi (Prediction, Learning,
// and Games, chapter 2). To follow the best one alone does worse, and by how much is a matter of
// luck: each change of mind costs, and programs end soon.
//
// Balances are frames times nanoseconds: a frame that went and came back must have been away for
// the break-even time, which is what its discard and its fault cost, divided by the price of
// memory. A part of that is charged when it goes, or the greediest would lead until memory is
// wanted.
//
// A start is not a clean slate: the half-life that is likely by the break-even time alone has a
// lead over the others.
//
// Pure. Constant work, and that at most once a beat. Not thread-safe.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "guest/mm/reporting/cooling.hpp"
#include "shared/address.hpp"

namespace guest::mm {

// With the host or not.
struct FreeFrames {
  std::uint64_t all = 0;
  std::uint64_t large = 0; // of them, in blocks of at least HalfLifeSearch::large_order
};

class HalfLifeSearch {
 public:
  static constexpr std::size_t ghosts = 12;
  static constexpr std::uint64_t shortest_ns = 7'000'000; // each of the others is twice as long
  static constexpr std::uint64_t beat_ns = shortest_ns / 16;
  // Half of what was learnt is forgotten in ten seconds and this many break-even times.
  static constexpr std::uint64_t memory_ns = 10'000'000'000;
  static constexpr std::uint64_t memory_break_evens = 16;
  // Looks that a sleeper takes a half-life, and a break-even time.
  static constexpr std::uint64_t looks = 4;

  static constexpr abi::Order large_order{4};

  // What there is to choose from, beside half-lives.
  enum class Blocks : std::uint8_t { all, all_or_large };

  // Forgets everything and begins with a lead of the half-life that seems likely, for all blocks.
  // 0: off; more than a day: a day.
  void reset(std::uint64_t break_even_ns, Blocks blocks);
  [[nodiscard]] bool on() const { return break_even_ns_ != 0; }

  // To be called when the number of free frames may have changed. A clock that goes back stands
  // still.
  void note(std::uint64_t now_ns, const FreeFrames& free);

  // As of the last note(): how many of the free frames should stay.
  [[nodiscard]] std::uint64_t kept_frames() const { return static_cast<std::uint64_t>(kept_); }

  // When note() should be called although nothing happens: time alone makes letting go worth it.
  // Cooling::never if it is off.
  [[nodiscard]] std::uint64_t next_look_ns() const;

  // The half-life that counts most; Cooling::never: to let nothing go does.
  [[nodiscard]] std::uint64_t half_life_ns() const {
    return best_ == none ? Cooling::never : half_life_ns(best_ % ghosts);
  }

 private:
  struct Ghost {
    Cooling cooling;
    std::uint64_t fresh_frames = 0; // free and not let go
    std::uint64_t away_frames = 0;
    double balance = 0; // frames * ns
  };

  struct Ladder {
    std::uint64_t free_frames = 0;   // at the latest beat
    std::uint64_t lowest_frames = 0; // since then
    std::array<Ghost, ghosts> rungs;
  };

  // A choice is a ladder's number times `ghosts`, plus a rung's.
  static constexpr std::size_t none = ~std::size_t{0};

  [[nodiscard]] static std::uint64_t half_life_ns(std::size_t rung) { return shortest_ns << rung; }
  void pass(Ghost& ghost, std::uint64_t now_ns) const;
  void change(Ghost& ghost, std::uint64_t now_ns, std::uint64_t before, std::uint64_t after) const;
  // Of a choice, with the lead if it has one; none has neither won nor lost.
  [[nodiscard]] double balance(std::size_t choice) const;
  [[nodiscard]] std::size_t find_best() const;
  [[nodiscard]] std::uint64_t most_frames() const;
  // Weighs what all of them keep of the free memory.
  void weigh(const FreeFrames& free);

  std::uint64_t break_even_ns_ = 0;
  double advance_ns_ = 0;  // of the break-even time, charged when a frame goes
  double lead_ns_ = 0;     // of the likely rung, for each frame that was ever free
  double doubling_ns_ = 0; // of balance, for each frame that was ever free
  std::uint64_t noted_ns_ = 0;
  std::uint64_t most_frames_ = 0; // ever free
  std::size_t likely_rung_ = 0;
  std::size_t best_ = none;
  double kept_ = 0;               // frames
  std::uint64_t free_frames_ = 0; // as of the last note()
  std::uint64_t step_ns_ = 0;     // to the next look
  std::size_t ladders_in_use_ = 0;
  std::array<Ladder, 2> ladders_; // for all blocks, for large ones
};

} // namespace guest::mm
