// SPDX-License-Identifier: MIT
#include "vmm/trace/stepper.hpp"

#include <algorithm>
#include <iterator>
#include <utility>

namespace hvtrace {
namespace {

constexpr std::uint64_t first_interval = 8192; // records
constexpr std::size_t max_checkpoints = 64;

} // namespace

Stepper::Stepper(const TraceSource& source)
    : source_(source), model_(source), position_(source.first() - 1), interval_(first_interval) {
  checkpoints_.emplace(position_, model_);
}

void Stepper::apply_next() {
  const std::uint64_t number = position_ + 1;
  if (const auto record = source_.at(number)) {
    std::vector<Violation> ignored;
    model_.apply(*record, ignored);
  } else {
    model_.apply_missing(number);
  }
  position_ = number;
  if ((position_ - source_.first()) % interval_ != interval_ - 1 ||
      checkpoints_.contains(position_)) {
    return;
  }
  checkpoints_.emplace(position_, model_);
  if (checkpoints_.size() > max_checkpoints) {
    // Every other one goes; the distances double.
    interval_ *= 2;
    bool drop = true;
    for (auto next = std::next(checkpoints_.begin()); next != checkpoints_.end(); drop = !drop) {
      next = drop ? checkpoints_.erase(next) : std::next(next);
    }
  }
}

void Stepper::restore_before(std::uint64_t number) {
  const auto checkpoint = std::prev(checkpoints_.upper_bound(number));
  position_ = checkpoint->first;
  model_ = checkpoint->second;
}

void Stepper::seek(std::uint64_t number) {
  const std::uint64_t target = std::clamp(number, source_.first() - 1, source_.end() - 1);
  const auto nearest = std::prev(checkpoints_.upper_bound(target));
  if (target < position_ || nearest->first > position_) {
    restore_before(target);
  }
  while (position_ < target) {
    apply_next();
  }
}

void Stepper::forward(std::uint64_t records) {
  seek(position_ + std::min(records, source_.end() - 1 - position_));
}

void Stepper::back(std::uint64_t records) {
  seek(position_ - std::min(records, position_ - (source_.first() - 1)));
}

bool Stepper::find_forward(const Filter& filter) {
  const std::uint64_t start = position_;
  while (position_ + 1 < source_.end()) {
    apply_next();
    const auto now = record();
    if (now && filter.matches(*now, model_.latency_ns())) {
      return true;
    }
  }
  seek(start);
  return false;
}

bool Stepper::find_back(const Filter& filter) {
  const std::uint64_t start = position_;
  // Piece by piece, each from its checkpoint on; the last match of a piece is the nearest.
  for (std::uint64_t end = start; end > source_.first();) {
    restore_before(end - 1 > source_.first() - 1 ? end - 2 : end - 1);
    const std::uint64_t piece_start = position_;
    std::optional<std::uint64_t> found;
    while (position_ + 1 < end) {
      apply_next();
      const auto now = record();
      if (now && filter.matches(*now, model_.latency_ns())) {
        found = position_;
      }
    }
    if (found) {
      seek(*found);
      return true;
    }
    end = piece_start + 1;
  }
  seek(start);
  return false;
}

} // namespace hvtrace
