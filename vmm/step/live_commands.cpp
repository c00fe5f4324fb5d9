// SPDX-License-Identifier: MIT
#include "vmm/step/live_commands.hpp"

#include <algorithm>

#include <fmt/core.h>

#include "vmm/step/guest_words.hpp"
#include "vmm/step/hand_answer.hpp"
#include "vmm/trace/event_text.hpp"

namespace vmm {
namespace {

constexpr std::uint64_t words_shown = 8;

std::string batch_name(const Batch& batch) {
  return fmt::format("batch {} of channel {}", batch.submission.batch_id, batch.channel);
}

} // namespace

LiveStop LiveStop::at_hypercall(unsigned vcpu, abi::Hypercall call, std::uint64_t argument) {
  return {.kind = Kind::hypercall,
          .vcpu = vcpu,
          .what = fmt::format("vCPU {} calls {}, argument {:#x}", vcpu,
                              hvtrace::hypercall_name(static_cast<std::uint64_t>(call)), argument)};
}

LiveStop LiveStop::at_batch(const Batch& batch, BatchFaults& faults) {
  std::uint64_t bytes = 0;
  for (const abi::RangeDescriptor range : batch.submitted()) {
    // As the guest wrote them: nothing is validated yet.
    bytes += range.kind() == abi::RangeKind::hint && range.order().value <= abi::max_order
                 ? range.order().bytes()
                 : 0;
  }
  return {.kind = Kind::batch,
          .vcpu = batch.channel, // each vCPU has its own
          .what = fmt::format("{} taken: {} ranges, {}", batch_name(batch),
                              batch.submission.range_count, hvtrace::size_text(bytes)),
          .batch = &batch,
          .faults = &faults};
}

LiveStop LiveStop::at_end(const GuestEnding& ending) {
  return {.kind = Kind::ended,
          .what = fmt::format("the guest has ended: {}{}{}",
                              hvtrace::end_name(static_cast<std::uint8_t>(ending.kind)),
                              ending.kind == EndKind::exited
                                  ? fmt::format(" with status {}", ending.status)
                                  : std::string(),
                              ending.text.empty() ? "" : "\n" + ending.text)};
}

std::string LiveCommands::help() {
  return hvtrace::StepCommands::help() +
         "At the latest record these let the guest run on:\n"
         "s [N]          to the N-th next hypercall    n     to the next batch\n"
         "u EXPR         until a new record fits       c     to the guest's end\n"
         "d detach       without any more stops        q     ends the guest\n"
         "x ADDR [N]     N words of guest memory       r [V] registers of vCPU V\n"
         "D decline [R]  the batch at hand, or its range R (an index)\n"
         "F fail [R]     the same, as failed           H     answer honestly after all\n"
         "T delay TIME   answer it that much later     :     a whole word, as in a script\n";
}

bool LiveCommands::reached(LiveStop::Kind kind) {
  if (goal_ == Goal::detached) {
    return false;
  }
  if (goal_ == Goal::condition) {
    const bool found = !history_.execute(".").beyond_end;
    if (!found) {
      go_to_present(); // the next search begins there
    }
    return found || kind == LiveStop::Kind::ended;
  }
  if (kind == LiveStop::Kind::ended) {
    return true;
  }
  switch (goal_) {
  case Goal::hypercall:
    stops_to_go_ -= stops_to_go_ == 0 ? 0 : 1;
    return stops_to_go_ == 0;
  case Goal::batch:
    return kind == LiveStop::Kind::batch;
  default:
    return false;
  }
}

std::string LiveCommands::begin(LiveStop& stop) {
  stop_ = &stop;
  if (goal_ != Goal::condition || stop.kind == LiveStop::Kind::ended) {
    go_to_present();
  }
  std::string text = stop.what;
  if (stop.faults != nullptr) {
    text += "; it will be " + describe(*stop.faults);
  }
  return text;
}

hvtrace::StepOutcome LiveCommands::execute(std::string_view line) {
  const auto [command, rest] = hvtrace::take_apart(line);
  switch (command) {
  case 'x':
    return show_memory(rest);
  case 'r':
    return show_registers(rest);
  case 'D':
  case 'F':
  case 'T':
  case 'H':
    return change_answer(command, rest);
  case 'd':
    detach();
    return {.resume = true};
  case 'h':
    return {.message = help()};
  default:
    break;
  }
  hvtrace::StepOutcome outcome = history_.execute(line);
  return outcome.beyond_end ? run_on(command, rest) : outcome;
}

hvtrace::StepOutcome LiveCommands::run_on(char command, std::string_view rest) {
  if (stop_->kind == LiveStop::Kind::ended) {
    return {.message = "the guest has ended"};
  }
  switch (command) {
  case 's':
  case 'j':
    goal_ = Goal::hypercall;
    stops_to_go_ = std::max<std::uint64_t>(1, hvtrace::whole_number(rest, 1).value_or(1));
    break;
  case 'n':
    goal_ = Goal::batch;
    break;
  case 'c':
    goal_ = Goal::end;
    break;
  default: // a search
    goal_ = Goal::condition;
    go_to_present();
    break;
  }
  return {.resume = true};
}

hvtrace::StepOutcome LiveCommands::show_memory(std::string_view rest) const {
  const std::size_t space = std::min(rest.find(' '), rest.size());
  const auto gpa = hvtrace::whole_number(rest.substr(0, space), 0);
  const auto count = hvtrace::whole_number(hvtrace::trimmed(rest.substr(space)), words_shown);
  if (rest.empty() || !gpa || !count) {
    return {.message = "x wants a guest address and a number of words, such as x 0x4a3000 16"};
  }
  const auto text = words_at(guest_.memory, guest_.symbols, {*gpa}, *count);
  return {.message = text ? *text : text.error().message};
}

hvtrace::StepOutcome LiveCommands::show_registers(std::string_view rest) const {
  const auto vcpu = hvtrace::whole_number(rest, stop_->vcpu);
  if (!vcpu || *vcpu >= guest_.vcpus) {
    return {.message = fmt::format("no vCPU {}: there are {}", rest, guest_.vcpus)};
  }
  return {.message =
              fmt::format("vCPU {}\n{}\n", *vcpu, guest_.registers(static_cast<unsigned>(*vcpu)))};
}

hvtrace::StepOutcome LiveCommands::change_answer(char command, std::string_view rest) {
  if (stop_->faults == nullptr) {
    return {.message = "no batch is at hand; n runs to the next one"};
  }
  BatchFaults& faults = *stop_->faults;
  Result<void> changed;
  switch (command) {
  case 'T':
    changed = delay_by_hand(rest, faults);
    break;
  case 'H':
    faults = {};
    break;
  default:
    changed = answer_by_hand(command == 'D' ? HandOutcome::decline : HandOutcome::fail, rest,
                             *stop_->batch, faults);
    break;
  }
  return {.message = changed
                         ? fmt::format("{} will be {}", batch_name(*stop_->batch), describe(faults))
                         : changed.error().message};
}

} // namespace vmm
