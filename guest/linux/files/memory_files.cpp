// SPDX-License-Identifier: MIT
#include "guest/linux/files/memory_files.hpp"

#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>

#include "shared/address.hpp"

namespace guest::linux {

namespace {

constexpr std::uint32_t rights = 07777;
constexpr std::uint32_t seals_of_content = F_SEAL_WRITE | F_SEAL_FUTURE_WRITE;
constexpr std::uint32_t seal_executable = 0x20; // F_SEAL_EXEC

// Takes the first name off a path; empty at its end.
std::string_view next_name(std::string_view& path) {
  while (path.starts_with('/')) {
    path.remove_prefix(1);
  }
  const std::string_view name = path.substr(0, path.find('/'));
  path.remove_prefix(name.size());
  return name;
}

} // namespace

// ---- an open one -------------------------------------------------------------------------------

class OpenMemoryFile final : public File {
 public:
  OpenMemoryFile(MemoryFiles& files, MemoryFile& file) : files_(files), file_(file) { ++file.uses; }
  ~OpenMemoryFile() override {
    --file_.uses;
    MemoryFiles::leave(file_);
  }

  [[nodiscard]] Or<std::uint64_t> read(std::uint64_t offset, std::span<std::byte> to) override {
    if (is_folder()) {
      return std::unexpected(EISDIR);
    }
    return file_.read(offset, to);
  }
  [[nodiscard]] Or<std::uint64_t> write(std::uint64_t offset,
                                        std::span<const std::byte> from) override {
    if ((file_.seals & seals_of_content) != 0 ||
        ((file_.seals & F_SEAL_GROW) != 0 && offset + from.size() > file_.bytes())) {
      return std::unexpected(EPERM);
    }
    files_.touch(file_);
    return file_.write(offset, from);
  }
  [[nodiscard]] Or<abi::FileStat> stat() override { return file_.stat(); }
  [[nodiscard]] Or<abi::FileSpace> space() override { return files_.space({}); }
  [[nodiscard]] Or<std::uint64_t> list(std::uint64_t& position, std::span<std::byte> to) override {
    if (!is_folder()) {
      return std::unexpected(ENOTDIR);
    }
    return file_.list(position, to);
  }
  [[nodiscard]] int truncate(std::uint64_t bytes) override {
    if (((file_.seals & F_SEAL_SHRINK) != 0 && bytes < file_.bytes()) ||
        ((file_.seals & F_SEAL_GROW) != 0 && bytes > file_.bytes())) {
      return EPERM;
    }
    files_.touch(file_);
    return file_.truncate(bytes);
  }
  [[nodiscard]] int allocate(std::uint32_t mode, std::uint64_t offset,
                             std::uint64_t bytes) override {
    constexpr std::uint32_t punch = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
    if (is_folder()) {
      return ENODEV;
    }
    if ((mode == punch && (file_.seals & seals_of_content) != 0) ||
        (mode != punch && (file_.seals & F_SEAL_GROW) != 0 && offset + bytes > file_.bytes())) {
      return EPERM;
    }
    if (mode == punch) {
      files_.touch(file_);
      file_.punch(offset, bytes);
      return 0;
    }
    if ((mode & ~std::uint32_t{FALLOC_FL_KEEP_SIZE}) != 0) {
      return EOPNOTSUPP;
    }
    const int error = file_.allocate(offset, bytes);
    if (error == 0 && mode == 0 && file_.bytes() < offset + bytes) {
      return truncate(offset + bytes);
    }
    return error;
  }
  [[nodiscard]] int sync() override { return 0; } // there is no disk
  [[nodiscard]] Or<std::uint32_t> seals() override {
    return is_folder() ? Or<std::uint32_t>(std::unexpected(EINVAL)) : file_.seals;
  }
  [[nodiscard]] int add_seals(std::uint32_t seals) override {
    if (is_folder()) {
      return EINVAL;
    }
    if ((file_.seals & F_SEAL_SEAL) != 0) {
      return EPERM;
    }
    const bool fixes_code = (seals & seal_executable) != 0 && (stat()->mode & 0111U) != 0;
    file_.seals |=
        seals | (fixes_code ? F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_FUTURE_WRITE : 0);
    return 0;
  }
  [[nodiscard]] int set_mode(std::uint32_t mode) override {
    if ((file_.seals & seal_executable) != 0 && ((mode ^ stat()->mode) & 0111U) != 0) {
      return EPERM;
    }
    files_.change(file_, mode);
    return 0;
  }
  [[nodiscard]] int set_times(const abi::FileTimes& times) override {
    files_.change(file_, times);
    return 0;
  }
  [[nodiscard]] int set_owner(const abi::FileOwner& owner) override {
    files_.change(file_, owner);
    return 0;
  }
  [[nodiscard]] bool is_folder() const override { return file_.is_folder(); }
  [[nodiscard]] SharedPages* shared_pages() override { return is_folder() ? nullptr : &file_; }
  [[nodiscard]] bool is_mappable() const override { return !file_.is_folder(); }

 private:
  MemoryFiles& files_;
  MemoryFile& file_;
};

// ---- the tree ----------------------------------------------------------------------------------

MemoryFiles::MemoryFiles(PagePool& pool, PageViews& views, RealTime& time, Owner owner,
                         std::uint64_t device)
    : pool_(pool), views_(views), time_(time), owner_(owner), device_(device),
      root_(make(S_IFDIR | 01777U)) {
  root_->parent = root_;
  root_->attributes().links = 2;
  root_->attributes().user = 0;
  root_->attributes().group = 0;
}

// Without recursion: the deepest of the last goes first.
MemoryFiles::~MemoryFiles() {
  while (!root_->is_empty()) {
    MemoryFile* folder = root_;
    while (!folder->entries().back().file->is_empty()) {
      folder = folder->entries().back().file;
    }
    const Text name = folder->entries().back().name;
    unlink({folder, view(name), folder->entries().back().file});
  }
  delete root_;
}

MemoryFile* MemoryFiles::make(std::uint32_t mode) {
  const std::int64_t now = time_.realtime_ns();
  return new MemoryFile(pool_, views_, ++last_inode_,
                        {.device = device_,
                         .links = S_ISDIR(mode) ? std::uint64_t{1} : std::uint64_t{0}, // its "."
                         .accessed_ns = now,
                         .modified_ns = now,
                         .changed_ns = now,
                         .mode = mode,
                         .user = owner_.user,
                         .group = owner_.group});
}

void MemoryFiles::leave(MemoryFile& file) {
  const bool named = file.attributes().links > (file.is_folder() ? 1U : 0U);
  if (!named && file.uses == 0) {
    delete &file;
  }
}

void MemoryFiles::touch(MemoryFile& file) {
  file.attributes().modified_ns = time_.realtime_ns();
  file.attributes().changed_ns = file.attributes().modified_ns;
}

Or<MemoryFile*> MemoryFiles::find(std::string_view path) const {
  MemoryFile* file = root_;
  for (std::string_view name = next_name(path); !name.empty(); name = next_name(path)) {
    if (!file->is_folder()) {
      return std::unexpected(ENOTDIR);
    }
    file = file->find(name);
    if (file == nullptr) {
      return std::unexpected(ENOENT);
    }
  }
  return file;
}

// EBUSY for the root itself.
Or<MemoryFiles::Place> MemoryFiles::place_of(std::string_view path) const {
  const std::size_t slash = path.rfind('/');
  const std::string_view name = path.substr(slash == std::string_view::npos ? 0 : slash + 1);
  if (name.empty()) {
    return std::unexpected(EBUSY);
  }
  if (name.size() > longest_file_name) {
    return std::unexpected(ENAMETOOLONG);
  }
  const Or<MemoryFile*> folder = find(path.substr(0, slash == std::string_view::npos ? 0 : slash));
  if (!folder) {
    return std::unexpected(folder.error());
  }
  if (!(*folder)->is_folder()) {
    return std::unexpected(ENOTDIR);
  }
  return Place{*folder, name, (*folder)->find(name)};
}

Or<abi::FileStat> MemoryFiles::look_up(std::string_view path) {
  const Or<MemoryFile*> file = find(path);
  return file ? (*file)->stat() : Or<abi::FileStat>(std::unexpected(file.error()));
}

Or<Text> MemoryFiles::link_text(std::string_view path) {
  const Or<MemoryFile*> file = find(path);
  if (!file) {
    return std::unexpected(file.error());
  }
  if (!S_ISLNK((*file)->stat().mode)) {
    return std::unexpected(EINVAL);
  }
  return to_text((*file)->link());
}

Or<File*> MemoryFiles::open(std::string_view path, FileAccess access,
                            const abi::FileStat& /*stat*/) {
  const Or<MemoryFile*> file = find(path);
  if (!file) {
    return std::unexpected(file.error());
  }
  if ((*file)->is_folder() && access == FileAccess::write) {
    return std::unexpected(EISDIR);
  }
  if (S_ISSOCK((*file)->attributes().mode)) {
    return std::unexpected(ENXIO);
  }
  return new OpenMemoryFile(*this, **file);
}

Or<File*> MemoryFiles::open_pipe(std::string_view path, PipeAccess access) {
  const Or<MemoryFile*> file = find(path);
  if (!file) {
    return std::unexpected(file.error());
  }
  return (*file)->pipe.open(access, new OpenMemoryFile(*this, **file));
}

Or<abi::FileSpace> MemoryFiles::space(std::string_view /*path*/) {
  const PagePool::Space is = pool_.space();
  return abi::FileSpace{.type = TMPFS_MAGIC,
                        .block_bytes = abi::page_bytes,
                        .blocks = is.all_pages,
                        .free_blocks = is.free_pages,
                        .available_blocks = is.free_pages,
                        .files = is.all_pages,
                        .free_files = is.free_pages,
                        .name_bytes = longest_file_name};
}

// ---- names -------------------------------------------------------------------------------------

Or<MemoryFile*> MemoryFiles::make_named(std::string_view path, std::uint32_t mode) {
  const Or<Place> place = place_of(path);
  if (!place || place->file != nullptr) {
    return std::unexpected(place || place.error() == EBUSY ? EEXIST : place.error());
  }
  if (place->folder->attributes().links == 1) {
    return std::unexpected(ENOENT); // removed, and somebody is still in it
  }
  MemoryFile* const file = make(mode);
  place->folder->add(place->name, *file);
  touch(*place->folder);
  return file;
}

Or<File*> MemoryFiles::create(std::string_view path, std::uint32_t mode) {
  const Or<MemoryFile*> made = make_named(path, S_IFREG | (mode & rights));
  if (!made) {
    return std::unexpected(made.error());
  }
  return new OpenMemoryFile(*this, **made);
}

Or<File*> MemoryFiles::create_unnamed(std::string_view /*folder*/, std::uint32_t mode) {
  return new OpenMemoryFile(*this, *make(S_IFREG | (mode & rights)));
}

Or<File*> MemoryFiles::create_sealable(std::uint32_t mode, std::uint32_t seals) {
  MemoryFile* const file = make(S_IFREG | (mode & rights));
  file->seals = seals;
  return new OpenMemoryFile(*this, *file);
}

int MemoryFiles::make_folder(std::string_view path, std::uint32_t mode) {
  const Or<MemoryFile*> made = make_named(path, S_IFDIR | (mode & 01777U));
  return made ? 0 : made.error();
}

int MemoryFiles::make_link(std::string_view path, std::string_view text) {
  const Or<MemoryFile*> made = make_named(path, S_IFLNK | 0777U);
  if (!made) {
    return made.error();
  }
  (*made)->set_link(text);
  return 0;
}

int MemoryFiles::make_special(std::string_view path, std::uint32_t mode) {
  const Or<MemoryFile*> made = make_named(path, mode & (S_IFMT | rights));
  return made ? 0 : made.error();
}

void MemoryFiles::unlink(const Place& place) {
  place.folder->erase(place.name);
  touch(*place.folder);
  place.file->attributes().changed_ns = time_.realtime_ns();
  leave(*place.file);
}

int MemoryFiles::remove(std::string_view path, NameKind kind) {
  const Or<Place> place = place_of(path);
  if (!place || place->file == nullptr) {
    return place ? ENOENT : place.error();
  }
  if (place->file->is_folder() != (kind == NameKind::folder)) {
    return kind == NameKind::folder ? ENOTDIR : EISDIR;
  }
  if (!place->file->is_empty()) {
    return ENOTEMPTY;
  }
  unlink(*place);
  return 0;
}

int MemoryFiles::rename(std::string_view from, std::string_view to, std::uint32_t flags) {
  const Or<Place> old_place = place_of(from);
  const Or<Place> new_place = place_of(to);
  if (!old_place || !new_place) {
    return old_place ? new_place.error() : old_place.error();
  }
  MemoryFile* const file = old_place->file;
  MemoryFile* const there = new_place->file;
  const bool swaps = flags == RENAME_EXCHANGE;
  if (file == nullptr || (swaps && there == nullptr)) {
    return ENOENT;
  }
  if (there != nullptr && flags == RENAME_NOREPLACE) {
    return EEXIST;
  }
  const auto is_within = [this](const MemoryFile* folder, const MemoryFile* above) {
    for (; folder != root_ && folder != above; folder = folder->parent) {
    }
    return folder == above;
  };
  if (is_within(new_place->folder, file)) {
    return EINVAL; // into itself
  }
  if (there != nullptr && is_within(old_place->folder, there)) {
    return swaps ? EINVAL : ENOTEMPTY;
  }
  if (there == file) {
    return 0;
  }
  if (there != nullptr && !swaps) {
    if (there->is_folder() != file->is_folder()) {
      return file->is_folder() ? ENOTDIR : EISDIR;
    }
    if (!there->is_empty()) {
      return ENOTEMPTY;
    }
    unlink(*new_place);
  } else if (swaps) {
    new_place->folder->erase(new_place->name);
    old_place->folder->add(old_place->name, *there); // found behind the other, which goes first
  }
  old_place->folder->erase(old_place->name);
  new_place->folder->add(new_place->name, *file);
  touch(*old_place->folder);
  touch(*new_place->folder);
  file->attributes().changed_ns = time_.realtime_ns();
  return 0;
}

int MemoryFiles::link(std::string_view from, std::string_view to) {
  const Or<MemoryFile*> file = find(from);
  const Or<Place> place = place_of(to);
  if (!file || !place) {
    return file ? (place.error() == EBUSY ? EEXIST : place.error()) : file.error();
  }
  if ((*file)->is_folder()) {
    return EPERM;
  }
  if (place->file != nullptr) {
    return EEXIST;
  }
  place->folder->add(place->name, **file);
  touch(*place->folder);
  (*file)->attributes().changed_ns = time_.realtime_ns();
  return 0;
}

// ---- attributes --------------------------------------------------------------------------------

void MemoryFiles::change(MemoryFile& file, std::uint32_t mode) {
  file.attributes().mode = (file.attributes().mode & S_IFMT) | (mode & rights);
  file.attributes().changed_ns = time_.realtime_ns();
}

void MemoryFiles::change(MemoryFile& file, const abi::FileTimes& times) {
  const std::int64_t now = time_.realtime_ns();
  const auto set = [now](std::int64_t& to, std::int64_t wanted) {
    to = wanted == abi::file_time_kept ? to : wanted == abi::file_time_now ? now : wanted;
  };
  set(file.attributes().accessed_ns, times.accessed_ns);
  set(file.attributes().modified_ns, times.modified_ns);
  file.attributes().changed_ns = now;
}

void MemoryFiles::change(MemoryFile& file, const abi::FileOwner& owner) {
  const auto set = [](std::uint32_t& to, std::uint32_t wanted) {
    to = wanted == abi::file_owner_kept ? to : wanted;
  };
  set(file.attributes().user, owner.user);
  set(file.attributes().group, owner.group);
  file.attributes().changed_ns = time_.realtime_ns();
}

int MemoryFiles::set_mode(std::string_view path, std::uint32_t mode) {
  const Or<MemoryFile*> file = find(path);
  if (!file) {
    return file.error();
  }
  change(**file, mode);
  return 0;
}

int MemoryFiles::set_times(std::string_view path, const abi::FileTimes& times) {
  const Or<MemoryFile*> file = find(path);
  if (!file) {
    return file.error();
  }
  change(**file, times);
  return 0;
}

int MemoryFiles::set_owner(std::string_view path, const abi::FileOwner& owner) {
  const Or<MemoryFile*> file = find(path);
  if (!file) {
    return file.error();
  }
  change(**file, owner);
  return 0;
}

} // namespace guest::linux
