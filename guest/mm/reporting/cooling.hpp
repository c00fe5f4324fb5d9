// SPDX-License-Identifier: MIT
// How much of the free memory is still warm: what is freed is warm, and half of what is warm has
// cooled down a half-life later. Discarding what is wanted again soon costs more than it saves, and
// who has just freed much often wants as much again; the longer it has stayed unwanted, the less
// likely that is. A decay has no edge for the period of a workload to fall behind, as a fixed
// waiting time has.
//
// What comes and goes within a quarter of the half-life, a hold, does not cool at all: be it ever
// so little each time, a thousand times a second it would cost a thousand faults. So what is freed
// begins to cool after one hold, or two where somebody looks that often.
//
// Pure, constant work. Not thread-safe.
#pragma once

#include <cstdint>
#include <limits>

namespace guest::mm {

class Cooling {
 public:
  static constexpr std::uint64_t never = std::numeric_limits<std::uint64_t>::max();
  // Looks that a sleeper takes a half-life.
  static constexpr std::uint64_t looks = 4;
  // The half-life in times for which what was in use for a moment stays warm, at least.
  static constexpr std::uint64_t holds = 4;
  // Fewer than these are not worth another look.
  static constexpr double crumbs_frames = 32;

  // What is left of something after a time; never: all of it.
  [[nodiscard]] static double part_left(std::uint64_t passed_ns, std::uint64_t half_life_ns);

  // Forgets everything. 0: nothing is ever warm; never: what is freed stays warm.
  void reset(std::uint64_t half_life_ns);
  [[nodiscard]] bool on() const { return half_life_ns_ != 0; }
  [[nodiscard]] std::uint64_t half_life_ns() const { return half_life_ns_; }
  // What is warm stays so, and goes on cooling at another rate. Not from 0 or to 0.
  void change(std::uint64_t half_life_ns) { half_life_ns_ = half_life_ns; }

  // To be called when the number of free frames may have changed: what is more was freed, what is
  // less was taken, from the warm ones. A clock that goes back stands still.
  void note(std::uint64_t now_ns, std::uint64_t frames);
  // That many of the cool frames were reported and are not free any more.
  void took(std::uint64_t frames);

  // As of the last note().
  [[nodiscard]] std::uint64_t warm_frames() const { return static_cast<std::uint64_t>(warm_); }
  // When it is worth looking again although nothing else happened; never if nothing is warm.
  [[nodiscard]] std::uint64_t next_look_ns() const;

 private:
  std::uint64_t half_life_ns_ = 0;
  std::uint64_t noted_ns_ = 0;
  std::uint64_t frames_ = 0;
  double warm_ = 0; // with fractions, or many short times would cool nothing
  // The least that was free in the hold that is under way, and in the one before.
  std::uint64_t hold_ = 0;
  std::uint64_t least_ = 0;
  std::uint64_t least_before_ = 0;
};

} // namespace guest::mm
