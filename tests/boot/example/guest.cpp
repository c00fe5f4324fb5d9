// SPDX-License-Identifier: MIT
// Allocates pages, checks that they keep their content, frees them.
#include "guest/pattern.hpp"
#include "guest/workload.hpp"

namespace {

int run(guest::Env& env) {
  const guest::Pattern pattern(guest::Fill::edges);
  const std::uint64_t pages = env.arg_number("pages", 1000); // --arg pages=N
  auto** const blocks = new void*[pages];
  for (std::uint64_t index = 0; index < pages; ++index) {
    blocks[index] = env.allocate_pages({0});
    if (blocks[index] == nullptr) {
      env.usage_error("out of memory at page {}", index);
    }
    pattern.stamp(blocks[index], {0}, index);
  }
  guest::print("{} pages in {} us\n", pages, env.now_ns() / 1000);
  for (std::uint64_t index = 0; index < pages; ++index) {
    pattern.check(env, blocks[index], {0}, index); // ends the guest if content was lost
    env.free_pages(blocks[index], {0});
  }
  delete[] blocks;
  return 0; // the exit status
}

} // namespace

EBB_WORKLOAD(pages, "allocate pages=N (1000), check and free them", run,
             guest::Parameter::number("pages", 1, 1 << 26));
