// SPDX-License-Identifier: MIT
// Typed hypercalls of the calling vCPU; nothing else in the guest touches the hypercall port.
// Each costs one exit to the vmm (about 30 us on kvm_pvm).
#pragma once

#include <cstdint>
#include <string_view>

#include "shared/boot_info.hpp"
#include "shared/doorbell.hpp"
#include "shared/hypercall.hpp"

namespace guest::hypercall {

[[nodiscard]] abi::Status negotiate(const abi::GuestHello& hello);
// Cut to abi::console_write_bytes.
void console_write(std::string_view text);
// Sleeps for at least `ns`; may return earlier.
void wait(std::uint64_t ns);
// Maps the plug unit that starts at `next`.
[[nodiscard]] abi::Status plug(abi::Gpa next);
// Has memory behind [start, start + bytes), whole pages; advice.
void prefault(abi::Gpa start, std::uint64_t bytes);
[[nodiscard]] abi::Status start_vcpus();
[[noreturn]] void exit(std::uint64_t status);
[[noreturn]] void panic(const abi::PanicRecord& record);
// Returns when the file call in this vCPU's mailbox has been answered. Needs feature_files.
void file();
// The same of a socket call. Needs feature_sockets.
void socket();
void workload_begin();
// `since_last_free_ns`: time from the workload's last free to this call.
void workload_end(std::uint64_t since_last_free_ns);
// Tells the host that channel has submissions. One exit. `how` is one that the host has offered.
void ring_doorbell(std::uint32_t channel, abi::Doorbell how = abi::Doorbell::port);

} // namespace guest::hypercall
