// SPDX-License-Identifier: MIT
// Whose a program is, as it sees and changes it: users and groups (credentials(7)) and capabilities
// (capabilities(7)). Nothing of it leaves the guest: what the program may do to the host's files is
// what the vmm may. Pure.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace guest::linux {

// Bits are those of the CAP_ numbers.
using Capabilities = std::uint64_t;

class Credentials {
 public:
  struct Ids {
    std::uint32_t real = 0;
    std::uint32_t effective = 0;
    std::uint32_t saved = 0;
    std::uint32_t files = 0; // what setfsuid sets
  };
  enum class Kind : std::uint8_t { user, group };
  static constexpr std::uint32_t kept = ~0U; // as an id: stays as it is
  static constexpr std::size_t most_groups = 65536;

  // User 0 has the capabilities that mean something in a guest, others have none.
  Credentials(std::uint32_t user, std::uint32_t group);

  [[nodiscard]] const Ids& ids(Kind kind) const { return kind == Kind::user ? user_ : group_; }
  // Results are 0 or an error number.
  [[nodiscard]] int set(Kind kind, std::uint32_t id);                            // setuid
  [[nodiscard]] int set(Kind kind, std::uint32_t real, std::uint32_t effective); // setreuid
  [[nodiscard]] int set(Kind kind, const Ids& wanted);                           // setresuid
  // What it was before, whether or not it is changed.
  std::uint32_t set_files(Kind kind, std::uint32_t id);

  [[nodiscard]] std::span<const std::uint32_t> groups() const { return groups_; }
  [[nodiscard]] int set_groups(std::vector<std::uint32_t> groups);

  struct Sets {
    Capabilities effective = 0;
    Capabilities permitted = 0;
    Capabilities inheritable = 0;
  };
  [[nodiscard]] const Sets& capabilities() const { return sets_; }
  [[nodiscard]] int set_capabilities(const Sets& sets);
  [[nodiscard]] bool has(unsigned capability) const {
    return ((sets_.effective >> capability) & 1U) != 0;
  }
  [[nodiscard]] Capabilities bounds() const { return bounds_; }
  [[nodiscard]] int drop_bound(unsigned capability);
  // Whether they stay when the last id of user 0 is given up (PR_SET_KEEPCAPS).
  bool keeps_capabilities = false;

 private:
  [[nodiscard]] bool may_set_any(Kind kind) const;
  void take(Kind kind, Ids next);

  Ids user_;
  Ids group_;
  std::vector<std::uint32_t> groups_;
  Sets sets_;
  Capabilities bounds_;
};

} // namespace guest::linux
