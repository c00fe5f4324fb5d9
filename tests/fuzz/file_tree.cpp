// SPDX-License-Identifier: MIT
// Any paths over folders, files and links that point anywhere, in three file systems: each leads
// where the host's kernel leads it in the same tree below a folder of its own, or is refused for
// the same reason; and when the files are gone, so are their pages.
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <filesystem>
#include <memory>
#include <string>

#include "guest/linux/files/file_tree.hpp"
#include "guest/linux/files/memory_files.hpp"
#include "tests/fuzz/fuzz_bytes.hpp"
#include "tests/support/counted_pages.hpp"
#include "tests/support/settable_time.hpp"

namespace {

using namespace guest::linux;
using Last = FileTree::Last;

constexpr std::array<std::string_view, 3> mounts{"", "/mnt", "/deep/er"};
constexpr std::array<std::string_view, 14> names{"a",  "b",  "c", "mnt", "deep", "er",    ".",
                                                 "..", "..", "/", "",    "a/b",  "mnt/a", "no"};

// No file's pages are shown in memory here.
class NoViews final : public PageViews {
 public:
  void hide(const SharedPages&, PageRange) override {}
};

// The same tree on the host, where openat2 takes a folder for the root.
class Host {
 public:
  Host() {
    std::string name = std::filesystem::temp_directory_path() / "fuzz-tree-XXXXXX";
    fuzz::require(::mkdtemp(name.data()) != nullptr);
    place_ = name;
    root_ = ::open(name.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC);
    fuzz::require(root_ >= 0);
    real_ = std::filesystem::canonical(name);
  }
  ~Host() {
    ::close(root_);
    std::filesystem::remove_all(place_);
  }
  void clear() {
    for (const auto& entry : std::filesystem::directory_iterator(place_)) {
      std::filesystem::remove_all(entry.path());
    }
    std::filesystem::create_directories(place_ / "mnt");
    std::filesystem::create_directories(place_ / "deep/er");
  }
  // The path it leads to, from the root; or what is wrong.
  Or<std::string> walk(const std::string& path, bool follow) const {
    open_how how{};
    how.flags = static_cast<std::uint64_t>(O_PATH | O_CLOEXEC | (follow ? 0 : O_NOFOLLOW));
    how.resolve = RESOLVE_IN_ROOT;
    const long fd = ::syscall(SYS_openat2, root_, path.c_str(), &how, sizeof how);
    if (fd < 0) {
      return std::unexpected(errno);
    }
    const std::string link = "/proc/self/fd/" + std::to_string(fd);
    const std::string found = std::filesystem::read_symlink(link);
    ::close(static_cast<int>(fd));
    fuzz::require(found.starts_with(real_));
    return found == real_ ? "/" : found.substr(real_.size());
  }
  [[nodiscard]] std::string inside(std::string_view path) const {
    return real_ + std::string(path);
  }

 private:
  std::filesystem::path place_;
  std::string real_;
  int root_ = -1;
};

std::string path_from(fuzz::Bytes& bytes) {
  std::string path = bytes.below(2) == 0 ? "/" : "";
  for (std::uint32_t count = 1 + bytes.below(7); count != 0; --count) {
    path += names[bytes.below(names.size())];
    path += bytes.below(8) != 0 ? "/" : "";
  }
  switch (bytes.below(24)) {
  case 0:
    path.append(200 + bytes.below(80), 'n');
    break;
  case 1:
    while (path.size() < 3000) {
      path += "/.//";
    }
    break;
  case 2:
    path += static_cast<char>(bytes.take<std::uint8_t>() | 1); // no NUL
    break;
  default:
    if (bytes.below(3) != 0 && path.size() > 1 && path.back() == '/') {
      path.pop_back();
    }
  }
  return path.empty() ? "." : path;
}

class World {
 public:
  World(fuzz::Bytes bytes, Host& host) : bytes_(bytes), host_(host) {
    tree_.mount(mounts[0], root_, FileTree::Paths::whole);
    tree_.mount(mounts[1], other_, FileTree::Paths::below_the_mount);
    tree_.mount(mounts[2], third_, FileTree::Paths::below_the_mount);
    fuzz::require(root_.make_folder("/deep", 0755) == 0);
    host_.clear();
  }

  void run() {
    while (!bytes_.empty()) {
      switch (bytes_.below(8)) {
      case 0:
      case 1:
      case 2:
        make();
        break;
      case 3:
        remove();
        break;
      default:
        walk(path_from(bytes_));
      }
    }
  }

 private:
  // A relative path begins in the root, for both.
  void walk(const std::string& path) {
    for (const bool follow : {true, false}) {
      const Or<std::string> wanted = host_.walk(path, follow);
      const Or<FileTree::Place> got = tree_.walk({}, path, follow ? Last::follow : Last::keep);
      const int error = !got ? got.error() : got->stat ? 0 : got->stat.error();
      fuzz::require(error == (wanted ? 0 : wanted.error()));
      fuzz::require(!wanted || got->whole() == *wanted);
      if (wanted && S_ISDIR(got->stat->mode)) {
        const Or<File*> folder = tree_.open_folder(*got);
        fuzz::require(folder.has_value());
        delete *folder;
      }
    }
  }

  // Where a new name can be: its folder is there, and it is not.
  void make() {
    const std::string path = path_from(bytes_);
    const std::string text = path_from(bytes_);
    const std::uint32_t kind = bytes_.below(4);
    const Or<FileTree::Place> place = tree_.walk({}, path, Last::name);
    if (!place || place->stat || place->stat.error() != ENOENT || place->whole().size() > 1000) {
      return;
    }
    const std::string at = host_.inside(place->whole());
    if (kind == 0) {
      const Or<File*> file = place->system->create(place->inner(), 0644);
      fuzz::require(file.has_value());
      const std::array<std::byte, 5> some{};
      fuzz::require((*file)->write(bytes_.below(9000), some) == 5U);
      delete *file;
      fuzz::require(::mknod(at.c_str(), S_IFREG | 0644, 0) == 0);
    } else if (kind == 1) {
      fuzz::require(place->system->make_folder(place->inner(), 0755) == 0);
      fuzz::require(::mkdir(at.c_str(), 0755) == 0);
    } else {
      fuzz::require(place->system->make_link(place->inner(), text) == 0);
      fuzz::require(::symlink(text.c_str(), at.c_str()) == 0);
    }
  }

  void remove() {
    const std::string path = path_from(bytes_);
    const Or<FileTree::Place> place = tree_.walk({}, path, Last::name);
    if (!place || !place->stat || tree_.is_busy(*place)) {
      return;
    }
    const bool folder = S_ISDIR(place->stat->mode);
    const int got =
        place->system->remove(place->inner(), folder ? NameKind::folder : NameKind::file);
    const std::string at = host_.inside(place->whole());
    const int wanted = (folder ? ::rmdir(at.c_str()) : ::unlink(at.c_str())) == 0 ? 0 : errno;
    fuzz::require(got == wanted);
  }

  fuzz::Bytes bytes_;
  Host& host_;
  test_support::SettableTime time_;

 public:
  test_support::CountedPages pages;

 private:
  NoViews views_;
  MemoryFiles root_{pages, views_, time_, {}, 1};
  MemoryFiles other_{pages, views_, time_, {}, 2};
  MemoryFiles third_{pages, views_, time_, {}, 3};
  FileTree tree_;
};

} // namespace

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static Host host;
  World(fuzz::Bytes(data, size), host).run();
  return 0;
}
