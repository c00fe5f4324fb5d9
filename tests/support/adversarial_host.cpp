// SPDX-License-Identifier: MIT
#include "tests/support/adversarial_host.hpp"

#include <algorithm>
#include <atomic>
#include <utility>

namespace test_support {

namespace {

// Spans, and hints that stand alone.
std::uint64_t block_frames(const TakenBatch& batch) {
  std::uint64_t frames = 0;
  abi::Pfn span_start;
  abi::Pfn span_end;
  for (const abi::RangeDescriptor range : batch.ranges) {
    const abi::Pfn end = range.pfn() + range.order().frames();
    if (range.kind() == abi::RangeKind::span) {
      span_start = range.pfn();
      span_end = end;
    } else if (range.pfn() >= span_start && end <= span_end) {
      continue; // inside
    }
    frames += range.order().frames();
  }
  return frames;
}

} // namespace

AdversarialHost::AdversarialHost(const std::vector<abi::Channel*>& channels, GuestContent& content,
                                 const HostFaults& faults, std::uint64_t seed)
    : content_(content), faults_(faults), random_(seed) {
  for (abi::Channel* channel : channels) {
    hosts_.emplace_back(*channel);
  }
}

void AdversarialHost::round() {
  ++round_;
  for (std::size_t channel = 0; channel < hosts_.size(); ++channel) {
    take(channel);
  }
  if (!dropped_.empty()) {
    discard(dropped_[random_() % dropped_.size()]);
  }
  if (faults_.reorder) {
    std::shuffle(pending_.begin(), pending_.end(), random_);
  }
  std::vector<Pending> later;
  for (Pending& work : pending_) {
    if (work.due_round > round_ || !hosts_[work.channel].can_post()) {
      later.push_back(std::move(work));
      continue;
    }
    if (!work.repetition) {
      answer(work);
    }
    hosts_[work.channel].post(work.answer);
    ++(work.repetition ? counters_.repeated : counters_.answered);
    if (!work.repetition && chance(faults_.duplicate)) {
      work.repetition = true;
      work.due_round = round_ + random_() % 20;
      later.push_back(std::move(work));
    }
  }
  pending_ = std::move(later);
}

void AdversarialHost::take(std::size_t channel) {
  for (TakenBatch& batch : hosts_[channel].take()) {
    ++counters_.taken;
    if (counters_.taken > faults_.stall_after || chance(faults_.drop)) {
      ++counters_.dropped;
      counters_.dropped_frames += block_frames(batch);
      dropped_.push_back(std::move(batch));
    } else {
      pending_.push_back(
          {.channel = channel,
           .due_round = round_ + (faults_.delay_rounds == 0
                                      ? 0
                                      : random_() % (2 * std::uint64_t{faults_.delay_rounds})),
           .batch = std::move(batch),
           .answer = {}});
    }
  }
}

void AdversarialHost::answer(Pending& work) {
  work.answer = FakeReportHost::answer_to(work.batch, [this](abi::RangeDescriptor range) {
    if (chance(faults_.decline)) {
      if (range.order().value != 0 && chance(50)) {
        content_.discard(range.pfn(), {static_cast<std::uint8_t>(range.order().value - 1)});
      }
      return abi::Outcome::declined;
    }
    if (chance(faults_.fail)) {
      return abi::Outcome::failed;
    }
    content_.discard(range.pfn(), range.order());
    return abi::Outcome::discarded;
  });
}

void AdversarialHost::discard(const TakenBatch& batch) {
  for (const abi::RangeDescriptor range : batch.ranges) {
    content_.discard(range.pfn(), range.order());
  }
}

void write_control(abi::ReportControl& control, const abi::ReportPolicy& policy,
                   std::uint64_t timeout_ns) {
  const auto store = [](auto& field, auto value) {
    std::atomic_ref(field).store(value, std::memory_order_release);
  };
  store(control.generation, control.generation + 1);
  store(control.policy.enabled, policy.enabled);
  store(control.policy.order, policy.order);
  store(control.policy.batch, policy.batch);
  store(control.policy.strategy, policy.strategy);
  store(control.policy.keep_bytes, policy.keep_bytes);
  store(control.policy.delay_ns, policy.delay_ns);
  store(control.timeout_ns, timeout_ns);
  store(control.generation, control.generation + 1);
}

} // namespace test_support
