// SPDX-License-Identifier: MIT
#include "vmm/debug/gdb_session.hpp"

#include <algorithm>
#include <array>

#include <fmt/core.h>

#include "vmm/debug/gdb_registers.hpp"
#include "vmm/debug/gdb_stop_reply.hpp"

namespace vmm {

namespace {

// Errors mean nothing to gdb but that there is one; these are errno's EINVAL and EFAULT.
constexpr std::string_view bad_argument = "E16";
constexpr std::string_view bad_address = "E0e";
constexpr std::string_view ok = "OK";

struct Range {
  std::uint64_t address = 0;
  std::uint64_t bytes = 0;
};

std::optional<Range> parse_range(std::string_view text) {
  const auto address = parse_hex(take_until(text, ','));
  const auto bytes = parse_hex(text);
  return address && bytes ? std::optional(Range{*address, *bytes}) : std::nullopt;
}

} // namespace

struct GdbSession::Command {
  std::string_view name;
  void (GdbSession::*answer)(std::string_view rest);
};

GdbSession::GdbSession(DebugTarget& target, Send send) : target_(target), send_(std::move(send)) {
  target_.attach();
  stop_ = target_.stop();
  current_ = resumed_ = stop_.vcpu;
}

GdbSession::~GdbSession() {
  if (!released_) {
    target_.release();
  }
}

void GdbSession::receive(std::string_view bytes) {
  reader_.read(bytes, [this](const PacketReader::Item& item) {
    if (phase_ != Phase::over) {
      take(item);
    }
  });
}

void GdbSession::take(const PacketReader::Item& item) {
  using Kind = PacketReader::Kind;
  switch (item.kind) {
  case Kind::ack:
    last_reply_.clear();
    return;
  case Kind::nak:
    if (acknowledging_ && !last_reply_.empty()) {
      send_(last_reply_);
    }
    return;
  case Kind::interrupt:
    if (running()) {
      const DebugStop stop = target_.stop();
      interrupted_ = true;
      stopped(stop);
    }
    return;
  case Kind::damaged:
    if (acknowledging_) {
      send_("-");
    }
    return;
  case Kind::oversize:
  case Kind::packet:
    if (acknowledging_) {
      send_("+");
    }
    if (item.kind == Kind::oversize) {
      reply(bad_argument);
    } else {
      dispatch(item.payload);
    }
    return;
  }
}

void GdbSession::dispatch(std::string_view payload) {
  using S = GdbSession;
  // Longer names first where one begins like another.
  static constexpr auto commands = std::to_array<Command>({
      {"QStartNoAckMode", &S::start_no_ack_mode},
      {"qXfer:features:read:", &S::read_target_description},
      {"qSupported", &S::tell_features},
      {"qThreadExtraInfo,", &S::tell_thread},
      {"qfThreadInfo", &S::tell_threads},
      {"qsThreadInfo", &S::tell_more_threads},
      {"qAttached", &S::tell_attached},
      {"qRcmd,", &S::monitor},
      {"qC", &S::tell_current_thread},
      {"vCont?", &S::tell_resume_actions},
      {"vCont;", &S::resume_each},
      {"vKill", &S::kill_and_confirm},
      {"Z0,", &S::insert_breakpoint},
      {"z0,", &S::remove_breakpoint},
      // As KVM does not offer hardware's everywhere, hbreak gets the other kind: one that cannot be
      // had would hold up every continue, too.
      {"Z1,", &S::insert_breakpoint},
      {"z1,", &S::remove_breakpoint},
      {"?", &S::tell_stop},
      {"H", &S::select_thread},
      {"T", &S::thread_alive},
      {"g", &S::read_registers},
      {"G", &S::write_registers},
      {"p", &S::read_register},
      {"P", &S::write_register},
      {"m", &S::read_memory},
      {"M", &S::write_memory_hex},
      {"X", &S::write_memory_binary},
      {"c", &S::go},
      {"C", &S::go_with_signal},
      {"s", &S::step},
      {"S", &S::step_with_signal},
      {"D", &S::detach},
      {"k", &S::kill},
  });
  // While the guest goes there is nothing to read or change, only these.
  if (running() && !payload.starts_with('D') && !payload.starts_with('k') &&
      !payload.starts_with("vKill")) {
    return;
  }
  for (const Command& command : commands) {
    if (payload.starts_with(command.name)) {
      (this->*command.answer)(payload.substr(command.name.size()));
      return;
    }
  }
  reply(""); // not known here
}

void GdbSession::reply(std::string_view payload) {
  last_reply_ = frame_packet(payload);
  send_(last_reply_);
}

// --- Stopping and going ------------------------------------------------------------------------

void GdbSession::on_stop_event() {
  if (running() && target_.take_stop_event()) {
    interrupted_ = false;
    stopped(target_.stop());
  }
}

void GdbSession::stopped(const DebugStop& stop) {
  stop_ = stop;
  current_ = resumed_ = stop.vcpu;
  phase_ = Phase::stopped;
  reply(describe_stop());
}

std::string GdbSession::describe_stop() const {
  return gdb_stop_reply(stop_, interrupted_);
}

void GdbSession::on_end(const GuestEnding& ending) {
  released_ = true;
  if (running()) {
    reply(gdb_end_reply(ending));
  }
  phase_ = Phase::over;
}

void GdbSession::resume(const std::vector<VcpuResume>& actions) {
  interrupted_ = false;
  phase_ = Phase::running;
  target_.resume(actions);
}

void GdbSession::tell_stop(std::string_view /*rest*/) {
  reply(describe_stop());
}

void GdbSession::go(std::string_view rest) {
  legacy_resume(VcpuAction::go, false, rest);
}

void GdbSession::step(std::string_view rest) {
  legacy_resume(VcpuAction::step, false, rest);
}

void GdbSession::go_with_signal(std::string_view rest) {
  const auto signal = parse_hex(take_until(rest, ';'));
  legacy_resume(VcpuAction::go, signal.value_or(0) != 0, rest);
}

void GdbSession::step_with_signal(std::string_view rest) {
  const auto signal = parse_hex(take_until(rest, ';'));
  legacy_resume(VcpuAction::step, signal.value_or(0) != 0, rest);
}

// One vCPU steps alone; going, all do.
void GdbSession::legacy_resume(VcpuAction action, bool pass_exception, std::string_view address) {
  if (!address.empty()) {
    const auto rip = parse_hex(address);
    auto registers = target_.registers(resumed_);
    if (!rip || !registers) {
      reply(bad_argument);
      return;
    }
    registers->rip = *rip;
    if (!target_.set_registers(resumed_, *registers)) {
      reply(bad_argument);
      return;
    }
  }
  const bool alone = action == VcpuAction::step;
  std::vector<VcpuResume> actions(target_.vcpus(), {alone ? VcpuAction::stay : action, false});
  actions[resumed_] = {action, pass_exception};
  resume(actions);
}

// ACTION[:THREAD];... The first that names a thread, or none, is the thread's.
void GdbSession::resume_each(std::string_view rest) {
  std::vector<std::optional<VcpuResume>> chosen(target_.vcpus());
  bool valid = true;
  while (!rest.empty()) {
    std::string_view thread = take_until(rest, ';');
    const std::string_view what = take_until(thread, ':');
    const bool with_signal = what.starts_with('C') || what.starts_with('S');
    const auto signal = with_signal ? parse_hex(what.substr(1)) : std::optional<std::uint64_t>(0);
    const bool is_step = what.starts_with('s') || what.starts_with('S');
    const bool known = is_step || what.starts_with('c') || what.starts_with('C');
    if (!known || !signal || (!with_signal && what.size() != 1)) {
      valid = false;
      break;
    }
    const VcpuResume action{is_step ? VcpuAction::step : VcpuAction::go, *signal != 0};
    const bool everyone = thread.empty() || thread == "-1";
    const auto vcpu = vcpu_of(thread);
    if (!everyone && !vcpu) {
      valid = false;
      break;
    }
    for (unsigned index = 0; index < chosen.size(); ++index) {
      if (!chosen[index] && (everyone || index == *vcpu)) {
        chosen[index] = action;
      }
    }
  }
  std::vector<VcpuResume> actions;
  for (const auto& choice : chosen) {
    actions.push_back(choice.value_or(VcpuResume{VcpuAction::stay}));
  }
  const bool none_goes = std::ranges::all_of(
      actions, [](const VcpuResume& action) { return action.action == VcpuAction::stay; });
  if (!valid || none_goes) {
    reply(bad_argument);
    return;
  }
  resume(actions);
}

void GdbSession::tell_resume_actions(std::string_view /*rest*/) {
  reply("vCont;c;C;s;S");
}

void GdbSession::detach(std::string_view /*rest*/) {
  released_ = true;
  target_.release();
  reply(ok);
  phase_ = Phase::over;
}

void GdbSession::kill(std::string_view /*rest*/) {
  released_ = true;
  target_.kill();
  phase_ = Phase::over;
}

void GdbSession::kill_and_confirm(std::string_view rest) {
  reply(ok);
  kill(rest);
}

// --- Threads ------------------------------------------------------------------------------------

std::optional<unsigned> GdbSession::vcpu_of(std::string_view thread) const {
  if (thread == "-1" || thread == "0") {
    return current_;
  }
  const auto number = parse_hex(thread);
  if (!number || *number == 0 || *number > target_.vcpus()) {
    return std::nullopt;
  }
  return static_cast<unsigned>(*number - 1);
}

void GdbSession::select_thread(std::string_view rest) {
  const bool for_resuming = rest.starts_with('c');
  if (!for_resuming && !rest.starts_with('g')) {
    reply(bad_argument);
    return;
  }
  const auto vcpu = vcpu_of(rest.substr(1));
  if (!vcpu) {
    reply(bad_argument);
    return;
  }
  (for_resuming ? resumed_ : current_) = *vcpu;
  reply(ok);
}

void GdbSession::thread_alive(std::string_view rest) {
  reply(vcpu_of(rest) ? ok : bad_argument);
}

void GdbSession::tell_current_thread(std::string_view /*rest*/) {
  reply(fmt::format("QC{:x}", current_ + 1));
}

void GdbSession::tell_threads(std::string_view /*rest*/) {
  std::string text = "m";
  for (unsigned vcpu = 0; vcpu < target_.vcpus(); ++vcpu) {
    text += fmt::format("{}{:x}", vcpu == 0 ? "" : ",", vcpu + 1);
  }
  reply(text);
}

void GdbSession::tell_more_threads(std::string_view /*rest*/) {
  reply("l");
}

void GdbSession::tell_thread(std::string_view rest) {
  const auto vcpu = vcpu_of(rest);
  reply(vcpu ? to_hex(fmt::format("vCPU {}, {}", *vcpu, target_.describe(*vcpu)))
             : std::string(bad_argument));
}

// --- Registers ----------------------------------------------------------------------------------

void GdbSession::read_registers(std::string_view /*rest*/) {
  const auto registers = target_.registers(current_);
  reply(registers ? to_hex(gdb_encode(*registers)) : std::string(bad_argument));
}

void GdbSession::write_registers(std::string_view rest) {
  const auto data = from_hex(rest);
  const auto registers = data ? gdb_decode(*data) : std::nullopt;
  reply(registers && target_.set_registers(current_, *registers) ? ok : bad_argument);
}

void GdbSession::read_register(std::string_view rest) {
  const auto number = parse_hex(rest);
  const auto registers = target_.registers(current_);
  const std::span<const std::byte> value =
      number && registers ? gdb_register(*registers, *number) : std::span<const std::byte>{};
  reply(value.empty() ? std::string(bad_argument) : to_hex(value));
}

void GdbSession::write_register(std::string_view rest) {
  const auto number = parse_hex(take_until(rest, '='));
  const auto value = from_hex(rest);
  auto registers = target_.registers(current_);
  const bool done = number && value && registers && gdb_set_register(*registers, *number, *value) &&
                    target_.set_registers(current_, *registers);
  reply(done ? ok : bad_argument);
}

// --- Memory -------------------------------------------------------------------------------------

void GdbSession::read_memory(std::string_view rest) {
  const auto range = parse_range(rest);
  if (!range) {
    reply(bad_argument);
    return;
  }
  std::vector<std::byte> data(std::min<std::uint64_t>(range->bytes, max_packet_bytes / 2));
  data.resize(target_.read_memory(current_, range->address, data));
  reply(data.empty() ? std::string(bad_address) : to_hex(data));
}

void GdbSession::write_memory_hex(std::string_view rest) {
  const std::string_view range = take_until(rest, ':');
  write_memory(range, from_hex(rest));
}

void GdbSession::write_memory_binary(std::string_view rest) {
  const std::string_view range = take_until(rest, ':');
  write_memory(range, unescape_binary(rest));
}

void GdbSession::write_memory(std::string_view range,
                              const std::optional<std::vector<std::byte>>& data) {
  const auto parsed = parse_range(range);
  if (!parsed || !data || data->size() != parsed->bytes) {
    reply(bad_argument);
    return;
  }
  const bool done = data->empty() || target_.write_memory(current_, parsed->address, *data);
  reply(done ? ok : bad_address);
}

void GdbSession::insert_breakpoint(std::string_view rest) {
  const auto address = parse_hex(take_until(rest, ','));
  if (!address) {
    reply(bad_argument);
    return;
  }
  reply(target_.insert_breakpoint(current_, *address) ? ok : bad_address);
}

void GdbSession::remove_breakpoint(std::string_view rest) {
  const auto address = parse_hex(take_until(rest, ','));
  if (address) {
    target_.remove_breakpoint(*address);
  }
  reply(address ? ok : bad_argument);
}

// --- Everything else ----------------------------------------------------------------------------

void GdbSession::tell_features(std::string_view /*rest*/) {
  reply(fmt::format("PacketSize={:x};qXfer:features:read+;QStartNoAckMode+;vContSupported+;"
                    "swbreak+",
                    max_packet_bytes));
}

void GdbSession::start_no_ack_mode(std::string_view /*rest*/) {
  reply(ok);
  acknowledging_ = false;
}

// ANNEX:OFFSET,LENGTH
void GdbSession::read_target_description(std::string_view rest) {
  const std::string_view annex = take_until(rest, ':');
  const auto range = parse_range(rest);
  const std::string_view xml = gdb_target_xml();
  if (annex != "target.xml" || !range || range->address > xml.size()) {
    reply(bad_argument);
    return;
  }
  const std::string_view from = xml.substr(range->address);
  const std::string_view part =
      from.substr(0, std::min<std::uint64_t>(range->bytes, max_packet_bytes / 2));
  reply((part.size() == from.size() ? "l" : "m") + escape_binary(part));
}

// An existing process: a debugger that quits detaches from it.
void GdbSession::tell_attached(std::string_view /*rest*/) {
  reply("1");
}

void GdbSession::monitor(std::string_view rest) {
  const auto command = from_hex(rest);
  if (!command) {
    reply(bad_argument);
    return;
  }
  std::string text;
  for (const std::byte character : *command) {
    text += static_cast<char>(character);
  }
  const std::string answer = target_.monitor(text).substr(0, max_packet_bytes / 2);
  reply(answer.empty() ? std::string(ok) : to_hex(answer));
}

} // namespace vmm
