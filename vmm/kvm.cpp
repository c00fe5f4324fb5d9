// SPDX-License-Identifier: MIT
#include "vmm/kvm.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <vector>

namespace vmm {

namespace {

// KVM's ABI version has been 12 since 2007; api.rst says to refuse any other.
constexpr int kvm_api_version = 12;
constexpr std::uint32_t max_cpuid_entries = 256;

Error device_error(const std::string& path, int error) {
  switch (error) {
  case ENOENT:
    return {ErrorClass::environment,
            fmt::format("{} is absent: the kvm module is not loaded or this machine offers no "
                        "virtualisation; try 'modprobe kvm_intel' or 'modprobe kvm_amd'",
                        path)};
  case ENXIO:
  case ENODEV:
    return {ErrorClass::environment,
            fmt::format("{} is there but no kvm module serves it; try 'modprobe kvm_intel' or "
                        "'modprobe kvm_amd'",
                        path)};
  case EACCES:
  case EPERM:
    return {ErrorClass::environment,
            fmt::format("no permission to open {}; join its group ('sudo usermod -aG kvm $USER', "
                        "then log in again) or run as root",
                        path)};
  default:
    return {ErrorClass::environment, fmt::format("cannot open {}: {}", path, errno_text(error))};
  }
}

} // namespace

RunPage::~RunPage() {
  if (address_ != nullptr) {
    ::munmap(address_, bytes_);
  }
}

std::span<std::byte> RunPage::data(std::uint64_t offset, std::uint64_t bytes) const {
  if (bytes > bytes_ || offset > bytes_ - bytes) {
    return {};
  }
  return {static_cast<std::byte*>(address_) + offset, bytes};
}

int Vcpu::run() const {
  return ::ioctl(fd_.get(), KVM_RUN, 0) < 0 ? errno : 0;
}

Result<kvm_regs> Vcpu::registers() const {
  kvm_regs registers{};
  if (checked_ioctl<KVM_GET_REGS>(fd_, &registers) < 0) {
    return system_error("KVM_GET_REGS");
  }
  return registers;
}

Result<kvm_sregs> Vcpu::system_registers() const {
  kvm_sregs registers{};
  if (checked_ioctl<KVM_GET_SREGS>(fd_, &registers) < 0) {
    return system_error("KVM_GET_SREGS");
  }
  return registers;
}

Result<void> Vcpu::set_registers(const kvm_regs& registers) const {
  if (checked_ioctl<KVM_SET_REGS>(fd_, &registers) < 0) {
    return system_error("KVM_SET_REGS");
  }
  return {};
}

Result<void> Vcpu::set_system_registers(const kvm_sregs& registers) const {
  if (checked_ioctl<KVM_SET_SREGS>(fd_, &registers) < 0) {
    return system_error("KVM_SET_SREGS");
  }
  return {};
}

Result<std::uint32_t> Vcpu::tsc_khz() const {
  const int khz = ::ioctl(fd_.get(), KVM_GET_TSC_KHZ, 0);
  if (khz <= 0) {
    return system_error("KVM_GET_TSC_KHZ");
  }
  return static_cast<std::uint32_t>(khz);
}

Result<void> Vcpu::set_cpuid(const kvm_cpuid2& cpuid) const {
  if (checked_ioctl<KVM_SET_CPUID2>(fd_, &cpuid) < 0) {
    return system_error("KVM_SET_CPUID2");
  }
  return {};
}

Result<void> Vm::map(std::uint32_t slot, abi::Gpa gpa, std::span<const std::byte> memory,
                     Access access) const {
  kvm_userspace_memory_region region{};
  region.slot = slot;
  region.flags = access == Access::read_only ? KVM_MEM_READONLY : 0U;
  region.guest_phys_addr = gpa.value;
  region.memory_size = memory.size();
  region.userspace_addr = reinterpret_cast<std::uint64_t>(memory.data());
  if (checked_ioctl<KVM_SET_USER_MEMORY_REGION>(fd_, &region) < 0) {
    return system_error("KVM_SET_USER_MEMORY_REGION: slot {} of {} bytes at {:#x}", slot,
                        memory.size(), gpa.value);
  }
  return {};
}

Result<Vcpu> Vm::create_vcpu(std::uint32_t index) const {
  UniqueFd fd(::ioctl(fd_.get(), KVM_CREATE_VCPU, static_cast<unsigned long>(index)));
  if (!fd.valid()) {
    return system_error("KVM_CREATE_VCPU {}", index);
  }
  void* const page =
      ::mmap(nullptr, run_page_bytes_, PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0);
  if (page == MAP_FAILED) {
    return system_error("mmap of vCPU {}'s run page", index);
  }
  return Vcpu(std::move(fd), RunPage(page, run_page_bytes_));
}

Result<Kvm> Kvm::open(const std::string& path) {
  UniqueFd fd(::open(path.c_str(), O_RDWR | O_CLOEXEC));
  if (!fd.valid()) {
    return std::unexpected(device_error(path, errno));
  }
  const int version = ::ioctl(fd.get(), KVM_GET_API_VERSION, 0);
  if (version != kvm_api_version) {
    return environment_error("{} is not a KVM device of API version {} (it says {})", path,
                             kvm_api_version, version);
  }
  return Kvm(std::move(fd));
}

Result<Vm> Kvm::create_vm() const {
  const int run_page_bytes = ::ioctl(fd_.get(), KVM_GET_VCPU_MMAP_SIZE, 0);
  if (run_page_bytes < static_cast<int>(sizeof(kvm_run))) {
    return system_error("KVM_GET_VCPU_MMAP_SIZE");
  }
  UniqueFd fd(::ioctl(fd_.get(), KVM_CREATE_VM, 0));
  if (!fd.valid()) {
    return system_error("KVM_CREATE_VM");
  }
  return Vm(std::move(fd), static_cast<std::size_t>(run_page_bytes));
}

int Kvm::extension(long capability) const {
  const int value = ::ioctl(fd_.get(), KVM_CHECK_EXTENSION, capability);
  return value < 0 ? 0 : value;
}

Result<void> Kvm::apply_supported_cpuid(const Vcpu& vcpu) const {
  // kvm_cpuid2 ends in a flexible array: storage for header and entries, used as one object.
  std::vector<std::uint64_t> storage(
      (sizeof(kvm_cpuid2) + max_cpuid_entries * sizeof(kvm_cpuid_entry2)) / sizeof(std::uint64_t) +
      1);
  auto* const cpuid = reinterpret_cast<kvm_cpuid2*>(storage.data());
  cpuid->nent = max_cpuid_entries;
  if (checked_ioctl<KVM_GET_SUPPORTED_CPUID>(fd_, cpuid) < 0) {
    return system_error("KVM_GET_SUPPORTED_CPUID");
  }
  return vcpu.set_cpuid(*cpuid);
}

} // namespace vmm
