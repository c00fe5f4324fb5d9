// SPDX-License-Identifier: MIT
#include "vmm/sandbox/landlock.hpp"

#include <fcntl.h>
#include <linux/landlock.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>

#include "vmm/base/unique_fd.hpp"

namespace vmm {
namespace {

// struct landlock_ruleset_attr of 6.12; older kernels take it as long as what they do not know is
// 0.
struct RulesetAttributes {
  std::uint64_t files = 0;
  std::uint64_t network = 0; // since version 4
  std::uint64_t scoped = 0;  // since version 6
};

// linux/landlock.h of 6.7.
constexpr std::uint64_t connect_tcp = 2;
constexpr std::uint64_t tcp_bind_and_connect = 1 | connect_tcp;
constexpr int net_port_rule = 2; // LANDLOCK_RULE_NET_PORT
struct NetPort {                 // struct landlock_net_port_attr
  std::uint64_t access = 0;
  std::uint64_t port = 0;
};
constexpr unsigned network_version = 4;
constexpr std::uint64_t abstract_sockets_and_signals = 3;

// Access rights to files are numbered without gaps.
constexpr std::uint64_t all_file_rights(unsigned version) {
  unsigned count = 13;
  count += version >= 2 ? 1 : 0; // moving between folders
  count += version >= 3 ? 1 : 0; // truncating
  count += version >= 5 ? 1 : 0; // ioctl on devices
  return (std::uint64_t{1} << count) - 1;
}

// linux/landlock.h of 5.19 and 6.2.
constexpr std::uint64_t move_between_folders = 1U << 13;
constexpr std::uint64_t cut = 1U << 14;

Result<void> allow_beneath(const UniqueFd& ruleset, std::span<const std::string> folders,
                           std::uint64_t access) {
  for (const std::string& folder : folders) {
    const UniqueFd place(::open(folder.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
    const landlock_path_beneath_attr rule{.allowed_access = access, .parent_fd = place.get()};
    if (!place.valid() || ::syscall(SYS_landlock_add_rule, ruleset.get(),
                                    LANDLOCK_RULE_PATH_BENEATH, &rule, 0U) != 0) {
      return system_error("cannot confine the vmm to {}", folder);
    }
  }
  return {};
}

Result<void> allow_connecting(const UniqueFd& ruleset, std::span<const std::uint16_t> ports) {
  for (const std::uint16_t port : ports) {
    const NetPort rule{.access = connect_tcp, .port = port};
    if (::syscall(SYS_landlock_add_rule, ruleset.get(), net_port_rule, &rule, 0U) != 0) {
      return system_error("cannot confine the vmm to port {}", port);
    }
  }
  return {};
}

} // namespace

unsigned landlock_version() {
  const long version = ::syscall(SYS_landlock_create_ruleset, nullptr, std::size_t{0},
                                 LANDLOCK_CREATE_RULESET_VERSION);
  return version < 0 ? 0 : static_cast<unsigned>(version);
}

Result<void> confine_by_landlock(const LandlockExceptions& exceptions) {
  const unsigned version = landlock_version();
  RulesetAttributes attributes;
  attributes.files = all_file_rights(version);
  attributes.network = version >= network_version ? tcp_bind_and_connect : 0;
  attributes.scoped = version >= 6 ? abstract_sockets_and_signals : 0;
  const UniqueFd ruleset(
      static_cast<int>(::syscall(SYS_landlock_create_ruleset, &attributes, sizeof attributes, 0U)));
  if (!ruleset.valid()) {
    return system_error("cannot make a Landlock ruleset");
  }
  constexpr std::uint64_t put_in_place =
      LANDLOCK_ACCESS_FS_REMOVE_FILE | LANDLOCK_ACCESS_FS_MAKE_REG;
  constexpr std::uint64_t read = LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR;
  const std::uint64_t change =
      (read | put_in_place | LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_REMOVE_DIR |
       LANDLOCK_ACCESS_FS_MAKE_DIR | LANDLOCK_ACCESS_FS_MAKE_SYM | move_between_folders | cut) &
      attributes.files;
  EBB_TRY(allow_beneath(ruleset, exceptions.put_in_place, put_in_place));
  EBB_TRY(allow_beneath(ruleset, exceptions.replace, put_in_place | LANDLOCK_ACCESS_FS_WRITE_FILE));
  EBB_TRY(allow_beneath(ruleset, exceptions.read, read));
  EBB_TRY(allow_beneath(ruleset, exceptions.change, change));
  if (attributes.network != 0) {
    EBB_TRY(allow_connecting(ruleset, exceptions.connect_ports));
  }
  if (::syscall(SYS_landlock_restrict_self, ruleset.get(), 0U) != 0) {
    return system_error("cannot put a Landlock ruleset in force");
  }
  return {};
}

} // namespace vmm
