// SPDX-License-Identifier: MIT
#include <algorithm>
#include <optional>

#include "guest/arch/cpu.hpp"
#include "guest/kernel/kernel.hpp"
#include "guest/mm/status_field.hpp"
#include "guest/runtime/hypercall.hpp"
#include "guest/workload.hpp"

namespace guest {

void* Env::allocate_pages(abi::Order order) {
  return kernel_.allocate_pages(order);
}
void* Env::allocate_zeroed_pages(abi::Order order) {
  return kernel_.allocate_zeroed_pages(order);
}
void Env::free_pages(void* block, abi::Order order) {
  kernel_.free_pages(block, order);
}
void Env::make_movable(const void* block, abi::Order order, std::uint32_t cookie) {
  kernel_.pages().make_movable(abi::to_pfn(arch::address_of(block)), order, cookie);
}
void Env::set_mover(mm::BlockMover* mover) {
  kernel_.pages().set_mover(mover);
}
std::uint64_t Env::now_ns() const {
  return kernel_.now_ns();
}
void Env::sleep_until_ns(std::uint64_t deadline) {
  kernel_.sleep_until_ns(deadline);
}

void Env::settle() {
  kernel_.settle();
}

mm::Backoff Env::backoff() const {
  return kernel_.backoff();
}

std::string_view Env::arg(std::string_view key, std::string_view fallback) const {
  return kernel_.arg(key).value_or(fallback);
}

std::uint64_t Env::arg_number(std::string_view key, std::uint64_t fallback) const {
  return parsed(key, fallback, parse_number, "a whole number");
}

std::uint64_t Env::arg_bytes(std::string_view key, std::uint64_t fallback) const {
  return parsed(key, fallback, parse_bytes, "a size: use bytes or a suffix K, M, G, T");
}

std::uint64_t Env::arg_duration_ns(std::string_view key, std::uint64_t fallback) const {
  return parsed(key, fallback, parse_duration_ns, "a time: use a number with us, ms or s");
}

std::uint64_t Env::parsed(std::string_view key, std::uint64_t fallback,
                          std::optional<std::uint64_t> (*parse)(std::string_view),
                          std::string_view what) const {
  const auto text = kernel_.arg(key);
  if (!text) {
    return fallback;
  }
  const std::optional<std::uint64_t> value = parse(*text);
  if (!value) {
    Env(kernel_).usage_error("{}={} is not {}", key, *text, what);
  }
  return *value;
}

void Env::for_each_arg(void (*visit)(void* context, std::string_view key, std::string_view value),
                       void* context) const {
  kernel_.for_each_arg(
      [=](std::string_view key, std::string_view value) { visit(context, key, value); });
}

unsigned Env::host_minor() const {
  return kernel_.boot().version_minor;
}

std::span<const std::byte> Env::input() const {
  const abi::BootInfo& boot = kernel_.boot();
  if (boot.input_gpa == 0) {
    return {};
  }
  return {arch::pointer_to<const std::byte>({boot.input_gpa}), boot.input_bytes};
}

std::uint64_t Env::seed() const {
  return kernel_.boot().seed;
}
unsigned Env::vcpus() const {
  return kernel_.boot().vcpus;
}
std::uint64_t Env::ram_bytes() const {
  return kernel_.ram_bytes();
}

void Env::set_events_total(std::uint64_t total) {
  mm::publish(kernel_.status().events_total, total);
}

void Env::count_events(std::uint64_t count) {
  mm::add(kernel_.status().vcpu[arch::vcpu_page().vcpu].events, count);
}

void Env::tell_behind_ns(std::uint64_t late_ns) {
  mm::raise(kernel_.status().behind_ns, std::max<std::uint64_t>(late_ns, 1));
}

void Env::count_verified_pages(std::uint64_t count) {
  mm::add(kernel_.status().vcpu[arch::vcpu_page().vcpu].verified_pages, count);
}

void Env::run_on_all_vcpus(void (*job)(void* context, unsigned vcpu), void* context) {
  kernel_.crew().run(job, context);
}

void Env::exit(int status) {
  console_flush();
  hypercall::exit(static_cast<std::uint64_t>(std::int64_t{status}));
}

} // namespace guest
