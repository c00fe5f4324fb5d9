// SPDX-License-Identifier: MIT
#include "guest/linux/process/credentials.hpp"

#include <linux/capability.h>

#include <cerrno>
#include <vector>

#include <doctest/doctest.h>

namespace {

using namespace guest::linux; // NOLINT(google-build-using-namespace)
using Kind = Credentials::Kind;
constexpr std::uint32_t kept = Credentials::kept;

bool is(const Credentials& of, std::uint32_t real, std::uint32_t effective, std::uint32_t saved) {
  const Credentials::Ids& ids = of.ids(Kind::user);
  return ids.real == real && ids.effective == effective && ids.saved == saved;
}

} // namespace

TEST_CASE("credentials: who is nobody special becomes only who it is already") {
  Credentials own(1000, 100);
  CHECK(own.capabilities().permitted == 0);
  CHECK(own.set(Kind::user, 1000) == 0);
  CHECK(own.set(Kind::user, 0) == EPERM);
  CHECK(own.set(Kind::user, kept) == EINVAL);
  CHECK(own.set(Kind::user, 0, kept) == EPERM);
  CHECK(own.set(Kind::user, kept, 0) == EPERM);
  CHECK(own.set(Kind::user, {.real = kept, .effective = kept, .saved = 0}) == EPERM);
  CHECK(own.set(Kind::user, kept, kept) == 0);
  CHECK(own.set(Kind::group, 101) == EPERM);
  CHECK(own.set(Kind::group, 100, 100) == 0);
  CHECK(own.set_groups({1}) == EPERM);
  CHECK(own.set_files(Kind::user, 5) == 1000);
  CHECK(own.set_files(Kind::user, kept) == 1000);
  CHECK(is(own, 1000, 1000, 1000));
}

TEST_CASE("credentials: user 0 becomes anybody, for good or until it goes back") {
  Credentials own(0, 0);
  REQUIRE(own.has(CAP_SETUID));
  CHECK(own.set_groups({3, 4}) == 0);
  CHECK(own.groups().size() == 2);
  SUBCASE("for a while") {
    CHECK(own.set(Kind::user, {.real = kept, .effective = 1000, .saved = kept}) == 0);
    CHECK(is(own, 0, 1000, 0));
    CHECK(!own.has(CAP_SETUID));
    CHECK(own.capabilities().permitted != 0);
    CHECK(own.set(Kind::user, 77) == EPERM);
    CHECK(own.set(Kind::user, 0) == 0);
    CHECK(is(own, 0, 0, 0));
    CHECK(own.has(CAP_SETUID));
  }
  SUBCASE("for good") {
    CHECK(own.set(Kind::user, 1000) == 0);
    CHECK(is(own, 1000, 1000, 1000));
    CHECK(own.ids(Kind::user).files == 1000);
    CHECK(own.capabilities().permitted == 0);
    CHECK(own.set(Kind::user, 0) == EPERM);
  }
  SUBCASE("and keeps what it may") {
    own.keeps_capabilities = true;
    CHECK(own.set(Kind::user, 1000) == 0);
    CHECK(own.capabilities().permitted != 0);
    CHECK(own.capabilities().effective == 0);
    Credentials::Sets again = own.capabilities();
    again.effective = again.permitted;
    CHECK(own.set_capabilities(again) == 0);
    CHECK(own.set(Kind::user, 5) == 0);
  }
  SUBCASE("setreuid remembers who it was") {
    CHECK(own.set(Kind::user, 1, 2) == 0);
    CHECK(is(own, 1, 2, 2));
    CHECK(own.set(Kind::user, 2, 1) == 0);
    CHECK(is(own, 2, 1, 1));
    CHECK(own.set(Kind::user, 0, kept) == EPERM);
  }
}

TEST_CASE("credentials: capabilities are given up, and not had back") {
  Credentials own(0, 0);
  const Credentials::Sets all = own.capabilities();
  CHECK(own.set_capabilities({.effective = 0, .permitted = all.permitted, .inheritable = 0}) == 0);
  CHECK(own.set(Kind::user, 9) == EPERM);
  CHECK(own.drop_bound(CAP_CHOWN) == EPERM);
  CHECK(own.set_capabilities(all) == 0);
  CHECK(own.drop_bound(CAP_CHOWN) == 0);
  CHECK(((own.bounds() >> CAP_CHOWN) & 1) == 0);
  Credentials::Sets more = all;
  more.permitted |= Capabilities{1} << CAP_SYS_ADMIN;
  CHECK(own.set_capabilities(more) == EPERM);
  more = all;
  more.effective |= Capabilities{1} << CAP_SYS_ADMIN;
  CHECK(own.set_capabilities(more) == EPERM);
  CHECK(own.set_capabilities({}) == 0);
  CHECK(own.set_capabilities(all) == EPERM);
}
