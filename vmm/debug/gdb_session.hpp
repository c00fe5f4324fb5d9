// SPDX-License-Identifier: MIT
// One debugger's conversation in the gdb remote serial protocol (gdb manual, appendix E), all-stop:
// bytes in, bytes out, a DebugTarget moved in between. vCPU n is thread n + 1. Nothing that a
// debugger sends can do more than a debugger may.
//
// One thread at a time.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "vmm/debug/debug_target.hpp"
#include "vmm/debug/gdb_packets.hpp"
#include "vmm/vcpu/guest_end.hpp"

namespace vmm {

class GdbSession {
 public:
  // Sends bytes to the debugger; what cannot be sent is lost.
  using Send = std::function<void(std::string_view)>;

  // The debugger has connected: stops the guest. `target` outlives the session.
  GdbSession(DebugTarget& target, Send send);
  GdbSession(const GdbSession&) = delete;
  GdbSession& operator=(const GdbSession&) = delete;
  // If the connection broke off, the guest goes on without breakpoints.
  ~GdbSession();

  void receive(std::string_view bytes);
  // DebugTarget::stop_event() is readable.
  void on_stop_event();
  // The guest has ended. Nothing may be received afterwards.
  void on_end(const GuestEnding& ending);

  // The debugger waits for the guest to stop.
  [[nodiscard]] bool running() const { return phase_ == Phase::running; }
  // Nothing more to say: it has detached, killed the guest, or was told of its end.
  [[nodiscard]] bool over() const { return phase_ == Phase::over; }

 private:
  enum class Phase : std::uint8_t { stopped, running, over };
  struct Command; // which packets there are, and who answers them

  void take(const PacketReader::Item& item);
  void dispatch(std::string_view payload);
  void reply(std::string_view payload);
  void stopped(const DebugStop& stop);
  [[nodiscard]] std::string describe_stop() const;
  void resume(const std::vector<VcpuResume>& actions);
  // vCPU of a thread id; empty when there is none of it. 0 and -1 (any, all) give the current one.
  [[nodiscard]] std::optional<unsigned> vcpu_of(std::string_view thread) const;

  // Each gets the packet without its name.
  void tell_stop(std::string_view);
  void select_thread(std::string_view rest);
  void thread_alive(std::string_view rest);
  void read_registers(std::string_view rest);
  void write_registers(std::string_view rest);
  void read_register(std::string_view rest);
  void write_register(std::string_view rest);
  void read_memory(std::string_view rest);
  void write_memory_hex(std::string_view rest);
  void write_memory_binary(std::string_view rest);
  void write_memory(std::string_view range, const std::optional<std::vector<std::byte>>& data);
  void insert_breakpoint(std::string_view rest);
  void remove_breakpoint(std::string_view rest);
  void go(std::string_view rest);
  void step(std::string_view rest);
  void go_with_signal(std::string_view rest);
  void step_with_signal(std::string_view rest);
  void legacy_resume(VcpuAction action, bool pass_exception, std::string_view address);
  void resume_each(std::string_view rest);
  void tell_resume_actions(std::string_view);
  void detach(std::string_view);
  void kill(std::string_view);
  void kill_and_confirm(std::string_view);
  void tell_features(std::string_view rest);
  void start_no_ack_mode(std::string_view);
  void read_target_description(std::string_view rest);
  void tell_current_thread(std::string_view);
  void tell_threads(std::string_view);
  void tell_more_threads(std::string_view);
  void tell_thread(std::string_view rest);
  void tell_attached(std::string_view);
  void monitor(std::string_view rest);

  DebugTarget& target_;
  const Send send_;
  PacketReader reader_;
  Phase phase_ = Phase::stopped;
  bool acknowledging_ = true;
  bool released_ = false;
  std::string last_reply_; // framed, for when it got lost
  DebugStop stop_;
  bool interrupted_ = false; // stop_ answers an interrupt
  unsigned current_ = 0;     // vCPU of Hg
  unsigned resumed_ = 0;     // vCPU of Hc
};

} // namespace vmm
