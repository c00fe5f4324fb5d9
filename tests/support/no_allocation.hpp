// SPDX-License-Identifier: MIT
// Shows that a piece of code does not allocate: while an AllocationForbidden lives, operator new on
// its thread ends the test program. What a test's host does in between may be excepted.
#pragma once

namespace test_support {

class AllocationForbidden {
 public:
  AllocationForbidden();
  ~AllocationForbidden();
  AllocationForbidden(const AllocationForbidden&) = delete;
  AllocationForbidden& operator=(const AllocationForbidden&) = delete;
};

class AllocationAllowed {
 public:
  AllocationAllowed();
  ~AllocationAllowed();
  AllocationAllowed(const AllocationAllowed&) = delete;
  AllocationAllowed& operator=(const AllocationAllowed&) = delete;

 private:
  unsigned suspended_;
};

} // namespace test_support
