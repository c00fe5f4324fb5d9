// SPDX-License-Identifier: MIT
#include "guest/linux/files/file_tree.hpp"

#include <dirent.h>
#include <sys/stat.h>

#include <algorithm>
#include <charconv>

#include "guest/linux/files/directory_entries.hpp"
#include "shared/address.hpp"

namespace guest::linux {

namespace {

constexpr unsigned most_links = 40;
constexpr std::string_view descriptor_links = "/proc/self/fd/";
constexpr std::uint64_t mount_point_device = 5;

// A folder that is only there because something is mounted below it.
abi::FileStat mount_point_stat() {
  return {.device = mount_point_device,
          .inode = 1,
          .links = 2,
          .mode = S_IFDIR | 0555U,
          .block_bytes = abi::page_bytes};
}

// Empty, or from the slash of the last name on.
std::string_view without_last(std::string_view path) {
  const std::size_t slash = path.rfind('/');
  return path.substr(0, slash == std::string_view::npos ? 0 : slash);
}

// A folder and names in it that its file system does not have.
class FolderWithMounts final : public File {
 public:
  FolderWithMounts(File* inner, std::vector<Text> names)
      : inner_(inner), names_(std::move(names)) {}

  [[nodiscard]] Or<abi::FileStat> stat() override {
    return inner_ ? inner_->stat() : mount_point_stat();
  }
  [[nodiscard]] Or<abi::FileSpace> space() override {
    return inner_ ? inner_->space() : abi::FileSpace{.block_bytes = abi::page_bytes};
  }
  [[nodiscard]] Or<std::uint64_t> read(std::uint64_t /*offset*/,
                                       std::span<std::byte> /*to*/) override {
    return std::unexpected(EISDIR);
  }
  [[nodiscard]] bool is_folder() const override { return true; }
  [[nodiscard]] int sync() override { return inner_ ? inner_->sync() : 0; }

  // First what the file system has, then the names.
  [[nodiscard]] Or<std::uint64_t> list(std::uint64_t& position, std::span<std::byte> to) override {
    if (position < first_name && inner_) {
      const Or<std::uint64_t> got = inner_->list(position, to);
      if (!got || *got != 0) {
        return got;
      }
    }
    DirectoryEntries entries(to);
    bool all = true;
    for (std::uint64_t at = std::max(position, first_name) - first_name; all && at < names_.size();
         ++at) {
      all = entries.add(view(names_[at]), 1, DT_DIR, first_name + at + 1);
      position = all ? first_name + at + 1 : position;
    }
    return !all && entries.bytes() == 0 ? Or<std::uint64_t>(std::unexpected(EINVAL))
                                        : entries.bytes();
  }

 private:
  static constexpr std::uint64_t first_name = std::uint64_t{1} << 62; // no file system's position

  std::unique_ptr<File> inner_;
  std::vector<Text> names_;
};

} // namespace

void FileTree::mount(std::string_view path, FileSystem& system, Paths paths) {
  const auto same = std::ranges::find_if(
      mounts_, [path](const Mount& mount) { return view(mount.path) == path; });
  if (same != mounts_.end()) {
    *same = {to_text(path), &system, paths};
  } else {
    mounts_.push_back({to_text(path), &system, paths});
  }
}

std::vector<FileTree::MountPoint> FileTree::mounts() const {
  std::vector<MountPoint> all;
  all.reserve(mounts_.size());
  for (const Mount& mount : mounts_) {
    all.push_back({mount.path.empty() ? "/" : view(mount.path), *mount.system});
  }
  return all;
}

std::size_t FileTree::mount_of(std::string_view path) const {
  std::size_t best = 0;
  for (std::size_t index = 1; index < mounts_.size(); ++index) {
    const std::string_view at = view(mounts_[index].path);
    if ((path == at || is_below(path, at)) && at.size() > mounts_[best].path.size()) {
      best = index;
    }
  }
  return best;
}

bool FileTree::has_mounts_below(std::string_view path) const {
  return std::ranges::any_of(
      mounts_, [path](const Mount& mount) { return is_below(view(mount.path), path); });
}

bool FileTree::is_busy(const Place& place) const {
  return view(mounts_[place.mount].path) == view(place.path) || has_mounts_below(view(place.path));
}

FileTree::Place FileTree::look_at(Text path) {
  Place place;
  place.path = std::move(path);
  place.mount = mount_of(view(place.path));
  const Mount& mount = mounts_[place.mount];
  place.system = mount.system;
  place.from = mount.paths == Paths::whole ? 0 : mount.path.size();
  place.stat = place.system->look_up(place.inner());
  if (!place.stat && place.stat.error() == ENOENT && has_mounts_below(view(place.path))) {
    place.stat = mount_point_stat();
  }
  return place;
}

Or<FileTree::Place> FileTree::walk(std::string_view folder, std::string_view path, Last last) {
  if (path.empty()) {
    return std::unexpected(ENOENT);
  }
  Text rest = to_text(path);
  std::size_t at = 0; // in `rest`
  Place here = look_at(path.front() == '/' ? Text{} : to_text(folder));
  unsigned links = 0;
  for (;;) {
    while (at < rest.size() && rest[at] == '/') {
      ++at;
    }
    const std::string_view left = view(rest).substr(at);
    here.slash = !rest.empty() && rest.back() == '/';
    if (left.empty()) {
      const bool wants_folder = here.slash && last != Last::name && last != Last::make;
      return !here.stat || S_ISDIR(here.stat->mode) || !wants_folder ? Or<Place>(std::move(here))
                                                                     : std::unexpected(ENOTDIR);
    }
    if (!here.stat) {
      return std::unexpected(here.stat.error());
    }
    if (!S_ISDIR(here.stat->mode)) {
      return std::unexpected(ENOTDIR);
    }
    const std::string_view name = left.substr(0, left.find('/'));
    at += name.size();
    if (name == ".") {
      continue;
    }
    if (name == "..") {
      here = look_at(to_text(without_last(view(here.path))));
      continue;
    }
    if (name.size() > longest_file_name) {
      return std::unexpected(ENAMETOOLONG);
    }
    Text next = here.path;
    next.push_back('/');
    append(next, name);
    if (next.size() > abi::file_path_bytes) {
      return std::unexpected(ENAMETOOLONG);
    }
    here = look_at(std::move(next));
    if (!here.stat && here.stat.error() != ENOENT) {
      return std::unexpected(here.stat.error());
    }
    const bool ends = at == rest.size();
    const bool is_last = view(rest).find_first_not_of('/', at) == std::string_view::npos;
    if (!here.stat || !S_ISLNK(here.stat->mode) || (ends && last == Last::keep) ||
        (is_last && last == Last::name)) {
      continue;
    }
    if (++links > most_links) {
      return std::unexpected(ELOOP);
    }
    if (ends && view(here.path).starts_with(descriptor_links)) {
      std::uint64_t number = 0;
      const std::string_view digits = view(here.path).substr(descriptor_links.size());
      std::from_chars(digits.data(), digits.data() + digits.size(), number);
      here.descriptor = number;
      return here;
    }
    Or<Text> text = here.system->link_text(here.inner());
    if (!text) {
      return std::unexpected(text.error());
    }
    if (text->empty()) {
      return std::unexpected(ENOENT);
    }
    here = look_at(text->front() == '/' ? Text{} : to_text(without_last(view(here.path))));
    append(*text, view(rest).substr(at));
    rest = std::move(*text);
    at = 0;
  }
}

Or<File*> FileTree::open_folder(const Place& place) {
  std::vector<Text> names;
  for (const Mount& mount : mounts_) {
    const std::string_view path = view(mount.path);
    if (!is_below(path, view(place.path))) {
      continue;
    }
    const std::string_view below = path.substr(place.path.size() + 1);
    const std::string_view name = below.substr(0, below.find('/'));
    Text whole = place.path;
    whole.push_back('/');
    append(whole, name);
    const bool listed =
        place.system->look_up(view(whole).substr(place.from)).has_value() ||
        std::ranges::any_of(names, [name](const Text& known) { return view(known) == name; });
    if (!listed) {
      names.push_back(to_text(name));
    }
  }
  const Or<abi::FileStat> own = place.system->look_up(place.inner());
  Or<File*> inner = own ? place.system->open(place.inner(), FileAccess::read, *own)
                        : Or<File*>(static_cast<File*>(nullptr));
  if (!inner || names.empty()) {
    return inner;
  }
  return new FolderWithMounts(*inner, std::move(names));
}

} // namespace guest::linux
