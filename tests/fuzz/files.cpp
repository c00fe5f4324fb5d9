// SPDX-License-Identifier: MIT
// Any file calls of a guest, one after the other: whatever their numbers, paths, lengths and
// addresses, what lies outside of the guest's folders is neither read nor changed, and what it may
// only read stays as it is.
#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <optional>
#include <string>
#include <string_view>

#include "tests/fuzz/fuzz_bytes.hpp"
#include "vmm/base/units.hpp"
#include "vmm/files/file_calls.hpp"

namespace {

constexpr std::uint64_t guest_bytes = 4 * vmm::mib;
constexpr std::uint64_t path_gpa = vmm::mib;
constexpr std::uint64_t buffer_gpa = 2 * vmm::mib;
constexpr std::string_view secret = "what nobody in the guest may see or change";
constexpr std::string_view shown = "what the guest may only read";
constexpr std::array<std::string_view, 16> parts{
    "/",     "..",     ".",  "a",   "b",     "rw",   "rw/a",   "rw/link",
    "rw/up", "rw/out", "up", "out", "hello", "root", "secret", "//.//"};

std::string content_of(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

void write_to(const std::filesystem::path& path, std::string_view text) {
  std::ofstream(path, std::ios::binary) << text;
}

// A secret beside a root that can be read and a folder at /rw that can be changed, with links of
// all sorts between them.
class World {
 public:
  World() : place_(make_place()) {
    namespace fs = std::filesystem;
    fs::create_directories(root() / "rw");
    fs::create_directories(root() / "a");
    write_to(outside(), secret);
    write_to(root() / "hello", shown);
    for (const fs::path& folder : {root(), place_ / "rw"}) {
      fs::create_directories(folder);
      fs::create_symlink(outside(), folder / "out");
      fs::create_directory_symlink("..", folder / "up");
      fs::create_directory_symlink(place_, folder / "root");
    }
  }
  ~World() { std::filesystem::remove_all(place_); }

  [[nodiscard]] std::filesystem::path root() const { return place_ / "root"; }
  [[nodiscard]] std::filesystem::path changed() const { return place_ / "rw"; }
  [[nodiscard]] std::filesystem::path outside() const { return place_ / "secret"; }
  // Things that are beside the secret and in the root.
  [[nodiscard]] std::ptrdiff_t things() const {
    return std::distance(std::filesystem::directory_iterator(place_), {}) +
           std::distance(std::filesystem::recursive_directory_iterator(root()), {});
  }
  void tidy() const {
    for (const auto& entry : std::filesystem::directory_iterator(changed())) {
      if (const auto name = entry.path().filename();
          name != "out" && name != "up" && name != "root") {
        std::filesystem::remove_all(entry.path());
      }
    }
  }

 private:
  static std::filesystem::path make_place() {
    std::string name = std::filesystem::temp_directory_path() / "fuzz-files-XXXXXX";
    return ::mkdtemp(name.data());
  }

  std::filesystem::path place_;
};

std::string path_from(fuzz::Bytes& bytes) {
  std::string path;
  for (std::uint32_t count = bytes.below(6); count != 0; --count) {
    path += parts[bytes.below(parts.size())];
    path += bytes.below(4) != 0 ? "/" : "";
  }
  if (bytes.below(8) == 0) {
    path += bytes.take<char>();
  }
  return path;
}

// Mostly what makes sense, or there would be little to see.
abi::FileCall call_from(fuzz::Bytes& bytes, const vmm::GuestMemory& memory) {
  abi::FileCall call{
      .operation = static_cast<abi::FileOperation>(bytes.below(32)),
      .file = bytes.below(4) != 0 ? 3 + bytes.below(4) : bytes.take<std::uint32_t>(),
      .flags = bytes.take<std::uint32_t>() & (bytes.below(8) != 0 ? 0xffU : ~0U),
      .mode = bytes.below(8) != 0 ? bytes.below(01000) : bytes.take<std::uint32_t>(),
      .offset = bytes.below(4) != 0 ? bytes.below(9000) : bytes.take<std::uint64_t>(),
      .buffer_gpa = buffer_gpa,
      .buffer_bytes = bytes.below(4) != 0 ? 16 + bytes.below(3) * 64U
                                          : bytes.take<std::uint64_t>() >> bytes.below(64),
      .path_gpa = path_gpa,
      .length = bytes.below(9000)};
  const std::string path = path_from(bytes);
  const std::string other = path_from(bytes);
  std::memcpy(memory.at({path_gpa}, vmm::mib).data(), path.data(), path.size());
  call.path_bytes = path.size();
  if (bytes.below(2) == 0) { // the buffer as a second path
    std::memcpy(memory.at({buffer_gpa}, vmm::mib).data(), other.data(), other.size());
    call.buffer_bytes = other.size();
  }
  if (bytes.below(16) == 0) {
    call.path_gpa = bytes.take<std::uint64_t>();
    call.path_bytes = bytes.take<std::uint64_t>() >> bytes.below(64);
  }
  if (bytes.below(16) == 0) {
    call.buffer_gpa =
        bytes.below(2) == 0 ? guest_bytes - bytes.below(200) : bytes.take<std::uint64_t>();
  }
  return call;
}

} // namespace

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const World world;
  static const std::ptrdiff_t things = world.things();
  static auto memory = vmm::GuestMemory::create(guest_bytes, vmm::Backing::small_pages);
  static const int ended = [] { // the guest's end has been told: no stream is waited for
    std::array<int, 2> ends{};
    fuzz::require(::pipe(ends.data()) == 0 && ::write(ends[1], "x", 1) == 1);
    const rlimit limit{.rlim_cur = vmm::mib, .rlim_max = vmm::mib};
    std::signal(SIGXFSZ, SIG_IGN);
    fuzz::require(::setrlimit(RLIMIT_FSIZE, &limit) == 0);
    return ends[0];
  }();
  auto mounts = vmm::FileMounts::open(
      world.root().string(),
      std::array{vmm::ProgramMount{world.changed().string(), "/rw", vmm::MountAccess::read_write}});
  fuzz::require(mounts.has_value() && memory.has_value());
  vmm::FileCalls calls(std::move(*mounts), *memory, ended, {});
  fuzz::Bytes bytes(data, size);
  while (!bytes.empty()) {
    const abi::FileCall call = call_from(bytes, *memory);
    const abi::FileResult result = calls.perform(call);
    fuzz::require(result >= -4095 && result <= static_cast<abi::FileResult>(vmm::mib));
    const auto seen = memory->at({buffer_gpa}, 256);
    fuzz::require(
        std::string_view(reinterpret_cast<const char*>(seen.data()), seen.size()).find(secret) ==
        std::string_view::npos);
  }
  fuzz::require(content_of(world.outside()) == secret);
  fuzz::require(content_of(world.root() / "hello") == shown);
  fuzz::require(world.things() == things);
  world.tidy();
  return 0;
}
