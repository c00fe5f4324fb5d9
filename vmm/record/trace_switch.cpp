// SPDX-License-Identifier: MIT
#include "vmm/record/trace_switch.hpp"

#include <utility>

namespace vmm {
namespace {

// What messages begin with: "trace start: FILE".
std::string prefix(std::string_view request, std::string_view name) {
  return name.empty() ? fmt::format("trace {}", request)
                      : fmt::format("trace {}: {}", request, name);
}

std::unexpected<Error> no_file(std::string_view request, std::string_view name) {
  return name.empty() ? user_error("trace {0}: into which file? write trace {0} FILE", request)
                      : user_error("{}: no open file came with the request; ebbctl hands one over",
                                   prefix(request, name));
}

} // namespace

TraceSwitch::TraceSwitch(TraceRecorder& recorder, std::optional<std::string> name,
                         std::optional<TraceTarget> own, Held held)
    : recorder_(recorder), held_(held), own_(std::move(own)), own_name_(name.value_or("")),
      name_(own_name_), recording_(name && !own_) {}

template <typename Work> Result<void> TraceSwitch::on_thread(Work work) {
  Result<void> done;
  if (!recorder_.run([&] { done = work(); })) {
    return environment_error("the guest has ended");
  }
  return done;
}

Result<void> TraceSwitch::check(std::string_view request) const {
  if (held_ == Held::by_stepper) {
    return environment_error("trace {}: with --step the trace is the stepper's", request);
  }
  if (request == "start" && recording_) {
    return environment_error("trace start: {} is being recorded; rotate or stop it",
                             name_.empty() ? "a trace" : name_);
  }
  if (request != "start" && !recording_) {
    return environment_error("trace {}: nothing is being recorded", request);
  }
  return {};
}

Result<TraceState> TraceSwitch::start(UniqueFd file, std::string_view name) {
  const std::scoped_lock lock(mutex_);
  EBB_TRY(check("start"));
  if (!file.valid() && !(own_ && name.empty())) {
    return no_file("start", name);
  }
  const bool handed_over = file.valid();
  TraceRecorder::Recorded before;
  EBB_TRY(on_thread([&] {
    return handed_over ? go_on(std::move(file), prefix("start", name), before)
                       : go_on(take_own(), before);
  }));
  name_ = handed_over ? std::string(name) : own_name_;
  recording_ = true;
  return TraceState{.name = name_, .records = {}};
}

Result<TraceState> TraceSwitch::rotate(UniqueFd file, std::string_view name) {
  const std::scoped_lock lock(mutex_);
  EBB_TRY(check("rotate"));
  if (!file.valid()) {
    return no_file("rotate", name);
  }
  TraceState done;
  EBB_TRY(on_thread([&] {
    TraceRecorder::Recorded before;
    Result<void> gone_on = go_on(std::move(file), prefix("rotate", name), before);
    if (gone_on) {
      done = finish(std::exchange(name_, std::string(name)), std::move(before));
    }
    return gone_on;
  }));
  return done;
}

Result<TraceState> TraceSwitch::stop() {
  const std::scoped_lock lock(mutex_);
  EBB_TRY(check("stop"));
  TraceState done;
  EBB_TRY(on_thread([&] {
    done = finish(name_, recorder_.exchange(nullptr));
    return Result<void>{};
  }));
  recording_ = false;
  return done;
}

std::optional<TraceState> TraceSwitch::state() {
  const std::scoped_lock lock(mutex_);
  if (!recording_) {
    return std::nullopt;
  }
  TraceState state{.name = name_, .records = {}};
  const auto looked = on_thread([&] {
    if (const TraceWriter* const writer = recorder_.recording()) {
      state.records = writer->loss();
    }
    return Result<void>{};
  });
  return looked ? std::optional(state) : std::nullopt;
}

TraceTarget TraceSwitch::take_own() {
  TraceTarget own = std::move(*own_);
  own_.reset();
  return own;
}

Result<void> TraceSwitch::go_on(UniqueFd file, const std::string& what,
                                TraceRecorder::Recorded& before) {
  const TraceWriter* const now = recorder_.recording();
  EBB_TRY_ASSIGN(target, TraceTarget::take(std::move(file), what, now ? &now->target() : nullptr));
  return go_on(std::move(target), before);
}

Result<void> TraceSwitch::go_on(TraceTarget target, TraceRecorder::Recorded& before) {
  EBB_TRY_ASSIGN(writer, TraceWriter::create(std::move(target), recorder_.header_now()));
  EBB_TRY(writer->begin());
  before = recorder_.exchange(std::move(writer));
  return {};
}

TraceState TraceSwitch::finish(std::string name, TraceRecorder::Recorded recorded) {
  TraceState state{.name = std::move(name), .records = {}};
  if (recorded.writer) {
    recorded.writer->finish();
    state.records = recorded.writer->loss();
    state.guest_events_lost = recorded.guest_events_lost;
  }
  return state;
}

} // namespace vmm
