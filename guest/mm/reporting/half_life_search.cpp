// SPDX-License-Identifier: MIT
#include "guest/mm/reporting/half_life_search.hpp"

#include <algorithm>

namespace guest::mm {

namespace {

constexpr std::uint64_t second_ns = 1'000'000'000;
constexpr std::uint64_t longest_break_even_ns = 86'400 * second_ns;

// The numbers below were found by replaying recorded programs (make policy-sim).

// The likely half-life is the square of the break-even time in seconds, divided by this. What a
// program has not wanted for some milliseconds it seldom wants within the tenths of a second in
// which a cheap return pays, but it may well do so within the seconds that a dear one needs.
constexpr double likely_divisor = 32;

// Its lead is worth at most that long a stay of all that was ever free, and less where the
// break-even time is long: there the likely one is a poor guess, and expensive to hold on to.
constexpr double longest_lead_s = 0.9;
constexpr double lead_s2 = 1.15; // divided by the break-even time

// Programs want memory back within some seconds. So what goes will have to be paid for, if the
// break-even time is not far below that; if it is, the stay will have paid by then.
constexpr double usual_stay_s = 6;

// A weight doubles for a balance of so long a stay of the most that was ever free: about what
// a phase of a program takes. Where the break-even time is shorter than phases are, for a part of
// that. Between half and twice as long makes little difference.
constexpr double longest_doubling_s = 0.2;
constexpr double doubling_break_evens = 0.5;
// Who has had less than this has not lost or won much, however often.
constexpr std::uint64_t least_frames = 2048;

// A sleeper looks as often as the shortest half-life needs that has a tenth of the best's weight.
constexpr double heard = 0.1;
constexpr std::uint64_t shortest_step_ns = 5'000'000;
constexpr std::uint64_t longest_step_ns = second_ns / 10; // or what break-even times allow

// 2^-halvings.
double weight_of(double halvings) {
  constexpr std::uint64_t unit = 1U << 20;
  return halvings >= 64 ? 0 : Cooling::part_left(static_cast<std::uint64_t>(halvings * unit), unit);
}

// For how long what has cooled in the passed time has been away by now, on average.
double mean_stay_ns(double passed_ns, double half_life_ns, double part_left) {
  constexpr double mean_life = 1.442695040888963; // in half-lives: 1 / ln 2
  // In short times all parts of it see about as many go; the difference of the two would vanish.
  return passed_ns < half_life_ns / 8 ? passed_ns / 2
                                      : passed_ns / (1 - part_left) - mean_life * half_life_ns;
}

} // namespace

void HalfLifeSearch::reset(std::uint64_t break_even_ns, Blocks blocks) {
  *this = {};
  break_even_ns_ = std::min(break_even_ns, longest_break_even_ns);
  if (!on()) {
    return;
  }
  const double break_even_s = static_cast<double>(break_even_ns_) / second_ns;
  advance_ns_ = static_cast<double>(break_even_ns_) * break_even_s / (break_even_s + usual_stay_s);
  lead_ns_ = std::min(longest_lead_s, lead_s2 / break_even_s) * second_ns;
  doubling_ns_ = std::min(longest_doubling_s, doubling_break_evens * break_even_s) * second_ns;
  const double likely_ns = break_even_s * break_even_s / likely_divisor * second_ns;
  ladders_in_use_ = blocks == Blocks::all ? 1 : ladders_.size();
  for (std::size_t rung = 0; rung < ghosts; ++rung) {
    for (Ladder& ladder : ladders_) {
      ladder.rungs[rung].cooling.reset(half_life_ns(rung));
    }
    likely_rung_ = static_cast<double>(half_life_ns(rung)) <= likely_ns ? rung : likely_rung_;
  }
  best_ = likely_rung_;
}

// What is warm goes by and by while time passes and nothing else happens.
void HalfLifeSearch::pass(Ghost& ghost, std::uint64_t now_ns) const {
  const std::uint64_t passed_ns = now_ns - noted_ns_;
  ghost.balance += static_cast<double>(ghost.away_frames) * static_cast<double>(passed_ns);
  ghost.cooling.note(now_ns, ghost.fresh_frames);
  const std::uint64_t cool = ghost.fresh_frames - ghost.cooling.warm_frames();
  if (cool == 0) {
    return;
  }
  ghost.cooling.took(cool);
  const std::uint64_t half_life_ns = ghost.cooling.half_life_ns();
  const double stay_ns =
      mean_stay_ns(static_cast<double>(passed_ns), static_cast<double>(half_life_ns),
                   Cooling::part_left(passed_ns, half_life_ns));
  ghost.balance += static_cast<double>(cool) * (stay_ns - advance_ns_);
  ghost.fresh_frames -= cool;
  ghost.away_frames += cool;
}

void HalfLifeSearch::change(Ghost& ghost, std::uint64_t now_ns, std::uint64_t before,
                            std::uint64_t after) const {
  if (after >= before) {
    ghost.fresh_frames += after - before;
  } else {
    const std::uint64_t taken = before - after;
    const std::uint64_t fresh = std::min(taken, ghost.fresh_frames);
    ghost.fresh_frames -= fresh;
    ghost.away_frames -= taken - fresh;
    ghost.balance -=
        static_cast<double>(taken - fresh) * (static_cast<double>(break_even_ns_) - advance_ns_);
  }
  ghost.cooling.note(now_ns, ghost.fresh_frames);
}

std::uint64_t HalfLifeSearch::most_frames() const {
  return std::max(most_frames_, least_frames);
}

double HalfLifeSearch::balance(std::size_t choice) const {
  if (choice == none) {
    return 0;
  }
  const std::size_t rung = choice % ghosts;
  const double lead = rung == likely_rung_ ? lead_ns_ * static_cast<double>(most_frames()) : 0;
  return ladders_[choice / ghosts].rungs[rung].balance + lead;
}

std::size_t HalfLifeSearch::find_best() const {
  std::size_t best = none;
  for (std::size_t choice = ladders_in_use_ * ghosts; choice-- > 0;) { // of equals, the longest
    best = balance(choice) > balance(best) ? choice : best;
  }
  return best;
}

std::uint64_t HalfLifeSearch::next_look_ns() const {
  if (!on()) {
    return Cooling::never;
  }
  return noted_ns_ < Cooling::never - step_ns_ ? noted_ns_ + step_ns_ : Cooling::never;
}

void HalfLifeSearch::weigh(const FreeFrames& free) {
  best_ = find_best();
  const double most = balance(best_);
  const double doubling = doubling_ns_ * static_cast<double>(most_frames());
  const auto weight = [&](std::size_t choice) {
    return weight_of((most - balance(choice)) / doubling);
  };
  double sum = weight(none);
  double kept = sum * static_cast<double>(free.all);
  std::uint64_t watched_ns = Cooling::never; // half-life
  for (std::size_t choice = 0; choice < ladders_in_use_ * ghosts; ++choice) {
    const bool large_only = choice >= ghosts;
    const std::uint64_t others = large_only ? free.all - std::min(free.all, free.large) : 0;
    const std::uint64_t fresh = ladders_[choice / ghosts].rungs[choice % ghosts].fresh_frames;
    const double mine = weight(choice);
    kept += mine * static_cast<double>(fresh + others);
    sum += mine;
    watched_ns = mine < heard ? watched_ns : std::min(watched_ns, half_life_ns(choice % ghosts));
  }
  kept_ = kept / sum;
  step_ns_ = std::clamp(watched_ns / looks, shortest_step_ns,
                        std::max(break_even_ns_ / looks, longest_step_ns));
}

void HalfLifeSearch::note(std::uint64_t now_ns, const FreeFrames& free) {
  const std::array<std::uint64_t, 2> frames{free.all, free.large};
  for (std::size_t which = 0; which < ladders_in_use_; ++which) {
    ladders_[which].lowest_frames = std::min(ladders_[which].lowest_frames, frames[which]);
  }
  if (!on() || now_ns < noted_ns_ + beat_ns) {
    // Until the next beat what is freed stays, and what is taken is taken from that.
    kept_ =
        std::max(kept_ + static_cast<double>(free.all) - static_cast<double>(free_frames_), 0.0);
    free_frames_ = free.all;
    return;
  }
  const std::uint64_t passed_ns = now_ns - noted_ns_;
  const std::uint64_t forget_ns = memory_ns + memory_break_evens * break_even_ns_;
  const double remembered = Cooling::part_left(passed_ns, forget_ns);
  for (std::size_t which = 0; which < ladders_in_use_; ++which) {
    Ladder& ladder = ladders_[which];
    for (Ghost& ghost : ladder.rungs) {
      ghost.balance *= remembered;
      pass(ghost, now_ns);
      change(ghost, now_ns, ladder.free_frames, ladder.lowest_frames);
      change(ghost, now_ns, ladder.lowest_frames, frames[which]);
    }
    ladder.free_frames = frames[which];
    ladder.lowest_frames = frames[which];
  }
  noted_ns_ = now_ns;
  most_frames_ = std::max(most_frames_, free.all);
  free_frames_ = free.all;
  weigh(free);
}

} // namespace guest::mm
