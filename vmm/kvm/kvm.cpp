// SPDX-License-Identifier: MIT
#include "vmm/kvm/kvm.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <atomic>
#include <cstring>
#include <vector>

#include "shared/layout.h"

namespace vmm {

namespace {

// KVM's ABI version has been 12 since 2007; api.rst says to refuse any other.
constexpr int kvm_api_version = 12;
constexpr std::uint32_t max_cpuid_entries = 256;
// Lines reserved for an I/O APIC in user space, which there is none of; the routes need some.
constexpr std::uint64_t io_apic_lines = 24;

Error device_error(const std::string& path, int error) {
  switch (error) {
  case ENOENT:
    return {ErrorClass::environment,
            fmt::format("{} is absent: the kvm module is not loaded (try 'modprobe kvm_intel' or "
                        "'modprobe kvm_amd'), a container hides it, or this machine offers no "
                        "virtualisation",
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

// KVM looks at this byte before it enters the guest, so a request between a check and KVM_RUN is
// not lost (api.rst, 5. The kvm_run structure, immediate_exit). By exchange: whoever clears it sees
// what came before.
void Vcpu::request_exit() const {
  std::atomic_ref(state().immediate_exit).exchange(1, std::memory_order_acq_rel);
}

bool Vcpu::is_halted() const {
  kvm_mp_state state{};
  return checked_ioctl<KVM_GET_MP_STATE>(fd_, &state) == 0 && state.mp_state == KVM_MP_STATE_HALTED;
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

Result<kvm_fpu> Vcpu::fpu_registers() const {
  kvm_fpu registers{};
  if (checked_ioctl<KVM_GET_FPU>(fd_, &registers) < 0) {
    return system_error("KVM_GET_FPU");
  }
  return registers;
}

Result<void> Vcpu::set_fpu_registers(const kvm_fpu& registers) const {
  if (checked_ioctl<KVM_SET_FPU>(fd_, &registers) < 0) {
    return system_error("KVM_SET_FPU");
  }
  return {};
}

Result<void> Vcpu::set_up_programs(abi::Gpa entry) const {
  // SDM vol. 3, 5.8.8; AMD APM vol. 2, 6.1.1. SYSRET adds 8 and 16 to its selector and sets RPL 3.
  constexpr std::uint64_t sysret_base = EBB_USER_SS - 3 - 8;
  static_assert(sysret_base + 16 == EBB_USER_CS - 3 && EBB_KERNEL_CS + 8 == EBB_KERNEL_SS);
  constexpr std::uint64_t star = (sysret_base << 48) | (std::uint64_t{EBB_KERNEL_CS} << 32);
  // Trap, interrupt and direction flag, I/O privilege, nested task, alignment check: off on entry.
  constexpr std::uint64_t flags_off = 0x47700;
  struct Msrs {
    kvm_msrs head{};
    std::array<kvm_msr_entry, 3> entries{};
  } msrs;
  msrs.head.nmsrs = static_cast<std::uint32_t>(msrs.entries.size());
  msrs.entries = {kvm_msr_entry{0xc0000081, 0, star}, kvm_msr_entry{0xc0000082, 0, entry.value},
                  kvm_msr_entry{0xc0000084, 0, flags_off}};
  const int set = checked_ioctl<KVM_SET_MSRS>(fd_, &msrs.head);
  if (set != static_cast<int>(msrs.entries.size())) {
    return system_error("KVM_SET_MSRS: this KVM cannot run programs");
  }
  // What the processor has beyond x87 and SSE; without it programs do without as well.
  for (const std::uint64_t state : {0xe7U, 0x7U, 0x3U}) {
    kvm_xcrs xcrs{};
    xcrs.nr_xcrs = 1;
    xcrs.xcrs[0].value = state;
    if (checked_ioctl<KVM_SET_XCRS>(fd_, &xcrs) == 0) {
      return {};
    }
  }
  return system_error("KVM_SET_XCRS: this KVM cannot run programs");
}

Result<std::uint32_t> Vcpu::tsc_khz() const {
  const int khz = ::ioctl(fd_.get(), KVM_GET_TSC_KHZ, 0);
  if (khz <= 0) {
    return system_error("KVM_GET_TSC_KHZ");
  }
  return static_cast<std::uint32_t>(khz);
}

Result<void> Vcpu::set_up_interrupts(std::uint8_t timer_vector,
                                     std::uint8_t spurious_vector) const {
  // Register offsets of the APIC page (SDM vol. 3, 11.4.1) and bits of IA32_APIC_BASE.
  constexpr std::size_t spurious_register = 0xf0;
  constexpr std::size_t timer_register = 0x320;
  constexpr std::uint32_t software_enable = 1U << 8;
  constexpr std::uint32_t tsc_deadline_mode = 2U << 17;
  constexpr std::uint64_t base_x2apic = 1U << 10;
  constexpr std::uint64_t base_enable = 1U << 11;

  EBB_TRY_ASSIGN(sregs, system_registers());
  sregs.apic_base |= base_enable | base_x2apic;
  EBB_TRY(set_system_registers(sregs));
  kvm_lapic_state apic{};
  if (checked_ioctl<KVM_GET_LAPIC>(fd_, &apic) < 0) {
    return system_error("KVM_GET_LAPIC");
  }
  const auto set = [&](std::size_t offset, std::uint32_t value) {
    std::memcpy(apic.regs + offset, &value, sizeof value);
  };
  set(spurious_register, software_enable | spurious_vector);
  set(timer_register, tsc_deadline_mode | timer_vector);
  if (checked_ioctl<KVM_SET_LAPIC>(fd_, &apic) < 0) {
    return system_error("KVM_SET_LAPIC");
  }
  kvm_mp_state runnable{KVM_MP_STATE_RUNNABLE};
  if (checked_ioctl<KVM_SET_MP_STATE>(fd_, &runnable) < 0) {
    return system_error("KVM_SET_MP_STATE");
  }
  return {};
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

Result<void> Vm::create_interrupt_controller() const {
  kvm_enable_cap split{};
  split.cap = KVM_CAP_SPLIT_IRQCHIP;
  split.args[0] = io_apic_lines;
  if (checked_ioctl<KVM_ENABLE_CAP>(fd_, &split) < 0) {
    return system_error("KVM_CAP_SPLIT_IRQCHIP");
  }
  return {};
}

Result<void> Vm::route_lines_to_vcpus(unsigned vcpus, std::uint8_t vector) const {
  constexpr std::uint32_t msi_address = 0xfee00000; // SDM vol. 3, 11.11.1
  constexpr unsigned destination_shift = 12;
  // kvm_irq_routing ends in a flexible array: storage for header and entries, used as one object.
  std::vector<std::uint64_t> storage(
      (sizeof(kvm_irq_routing) + vcpus * sizeof(kvm_irq_routing_entry)) / sizeof(std::uint64_t) +
      1);
  auto* const routing = reinterpret_cast<kvm_irq_routing*>(storage.data());
  routing->nr = vcpus;
  for (std::uint32_t line = 0; line < vcpus; ++line) {
    kvm_irq_routing_entry& entry = routing->entries[line];
    entry.gsi = line;
    entry.type = KVM_IRQ_ROUTING_MSI;
    entry.u.msi.address_lo = msi_address | line << destination_shift;
    entry.u.msi.data = vector;
  }
  if (checked_ioctl<KVM_SET_GSI_ROUTING>(fd_, routing) < 0) {
    return system_error("KVM_SET_GSI_ROUTING");
  }
  return {};
}

Result<void> Vm::bind_interrupt(int event, std::uint32_t line) const {
  kvm_irqfd irqfd{};
  irqfd.fd = static_cast<std::uint32_t>(event);
  irqfd.gsi = line;
  if (checked_ioctl<KVM_IRQFD>(fd_, &irqfd) < 0) {
    return system_error("KVM_IRQFD of line {}", line);
  }
  return {};
}

Result<void> Vm::bind_doorbell(int event, std::uint16_t port, std::uint32_t value) const {
  kvm_ioeventfd doorbell{};
  doorbell.datamatch = value;
  doorbell.addr = port;
  doorbell.len = sizeof value;
  doorbell.fd = event;
  doorbell.flags = KVM_IOEVENTFD_FLAG_PIO | KVM_IOEVENTFD_FLAG_DATAMATCH;
  if (checked_ioctl<KVM_IOEVENTFD>(fd_, &doorbell) < 0) {
    return system_error("KVM_IOEVENTFD of port {:#x}", port);
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

Result<void> Vm::let_out_hypercalls() const {
  kvm_enable_cap exits{};
  exits.cap = KVM_CAP_EXIT_HYPERCALL;
  exits.args[0] = std::uint64_t{1} << EBB_DOORBELL_CALL;
  if (checked_ioctl<KVM_ENABLE_CAP>(fd_, &exits) < 0) {
    return system_error("KVM_CAP_EXIT_HYPERCALL");
  }
  return {};
}

Result<Kvm> Kvm::open(const std::string& path) {
  UniqueFd fd(::open(path.c_str(), O_RDWR | O_CLOEXEC));
  if (!fd.valid()) {
    return std::unexpected(device_error(path, errno));
  }
  const int version = ::ioctl(fd.get(), KVM_GET_API_VERSION, 0);
  if (version < 0) {
    return system_error(
        "{} is no KVM device (masked in this container?); tools/on-kvm runs a command "
        "where there is one",
        path);
  }
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

bool Kvm::has_interrupts() const {
  return extension(KVM_CAP_SPLIT_IRQCHIP) > 0 && extension(KVM_CAP_IRQFD) > 0 &&
         extension(KVM_CAP_IOEVENTFD) > 0 && extension(KVM_CAP_TSC_DEADLINE_TIMER) > 0;
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
  constexpr std::uint32_t features_leaf = 1;
  constexpr std::uint32_t ecx_x2apic = 1U << 21;
  constexpr std::uint32_t ecx_tsc_deadline = 1U << 24;
  for (kvm_cpuid_entry2& entry : std::span(cpuid->entries, cpuid->nent)) {
    if (entry.function == features_leaf && extension(KVM_CAP_TSC_DEADLINE_TIMER) > 0) {
      entry.ecx |= ecx_x2apic | ecx_tsc_deadline;
    }
  }
  return vcpu.set_cpuid(*cpuid);
}

} // namespace vmm
