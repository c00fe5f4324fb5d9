# SPDX-License-Identifier: MIT
"""Changes files in the working directory and in one below /tmp, by chance but always the same way, and
prints what each call said: a comparison of file systems. Usage: files.py STEPS SEED"""
import ctypes
import fcntl
import os
import random
import stat
import sys
import tempfile

LIBC = ctypes.CDLL(None, use_errno=True)
AT_FDCWD = -100
NAMES = ["a", "b", "c", "folder", "folder/a", "folder/b", "folder/inner", "folder/inner/a", "link", "folder/link",
         "a/b", "none/a", "folder/../a", "./b", "folder/", "a/", "folder/inner/..", "link/a", ".", ""]


class World:
    """A folder, the files that are open in it, and what may happen to both."""

    def __init__(self, chance):
        self.chance = chance
        self.open = []
        self.named = []  # by the step that is under way

    def name(self):
        self.named.append(self.chance.choice(NAMES))
        return self.named[-1]

    def file(self):
        if not self.open:
            return 999
        self.named.append(self.chance.randrange(len(self.open)))
        return self.open[self.named[-1]]

    def data(self):
        return bytes([self.chance.randrange(256)]) * self.chance.choice([1, 7, 100, 4096, 5000, 70000])

    def offset(self):
        return self.chance.choice([0, 1, 4095, 4096, 10000, 65536, 3 << 20])

    def step_open(self):
        flags = self.chance.choice([os.O_RDONLY, os.O_WRONLY, os.O_RDWR, os.O_RDWR])
        for flag in (os.O_CREAT, os.O_CREAT, os.O_EXCL, os.O_TRUNC, os.O_APPEND, os.O_DIRECTORY, os.O_NOFOLLOW):
            if self.chance.randrange(4) == 0:
                flags |= flag
        if flags & os.O_TRUNC and flags & os.O_ACCMODE == os.O_RDONLY or flags & os.O_CREAT and flags & os.O_DIRECTORY:
            flags &= ~(os.O_TRUNC | os.O_CREAT)  # not defined
        path = self.name()
        descriptor = os.open(path, flags, 0o640)
        self.open.append(descriptor)
        if len(self.open) > 12:
            os.close(self.open.pop(0))
        return path, oct(flags), fcntl.fcntl(descriptor, fcntl.F_GETFL)

    def step_temporary(self):
        self.open.append(os.open(".", os.O_TMPFILE | os.O_RDWR, 0o600))
        return os.fstat(self.open[-1]).st_nlink

    def step_close(self):
        if not self.open:
            return "none"
        return os.close(self.open.pop(self.chance.randrange(len(self.open))))

    def step_write(self):
        return os.write(self.file(), self.data())

    def step_pwrite(self):
        return os.pwrite(self.file(), self.data(), self.offset())

    def step_writev(self):
        return os.writev(self.file(), [self.data(), b"", self.data()])

    def step_read(self):
        got = os.read(self.file(), self.chance.choice([0, 1, 100, 100000]))
        return len(got), hash_of(got)

    def step_pread(self):
        got = os.pread(self.file(), 6000, self.offset())
        return len(got), hash_of(got)

    def step_seek(self):
        file, where = self.file(), self.chance.choice([0, 1, 2])
        self.named.append(where)
        if stat.S_ISDIR(os.fstat(file).st_mode):
            return "folder"
        return os.lseek(file, self.chance.choice([0, 5, -3, 10000]), where)

    def step_truncate(self):
        return os.ftruncate(self.file(), self.chance.choice([0, 1, 4096, 5000, 100000]))

    def step_truncate_path(self):
        return os.truncate(self.name(), self.chance.choice([0, 3, 5000]))

    def step_fallocate(self):
        mode, file = self.chance.choice([0, 1, 3]), self.file()
        result = LIBC.fallocate(file, mode, ctypes.c_long(self.offset()), ctypes.c_long(5000))
        return mode, error_of(result)

    def step_sync(self):
        os.fdatasync(self.file())
        return os.fsync(self.file())

    def step_mkdir(self):
        return os.mkdir(self.name(), 0o750)

    def step_rmdir(self):
        return os.rmdir(self.name())

    def step_unlink(self):
        return os.unlink(self.name())

    def step_rename(self):
        flags, old, new = self.chance.choice([0, 0, 0, 1, 2, 3, 8]), self.name(), self.name()
        return old, new, flags, error_of(LIBC.renameat2(AT_FDCWD, old.encode(), AT_FDCWD, new.encode(), flags))

    def step_link(self):
        old, new = self.name(), self.name()
        return old, new, os.link(old, new, follow_symlinks=False)

    def step_symlink(self):
        text, new = self.chance.choice(["a", "folder", "../b", "link", "./folder/a", "none"]), self.name()
        return text, new, os.symlink(text, new)

    def step_chmod(self):
        return os.chmod(self.name(), self.chance.choice([0o700, 0o755, 0o1777]))

    def step_utime(self):
        path = self.name()
        os.utime(path, ns=(1_000_000_007, 2_500_000_000), follow_symlinks=self.chance.randrange(2) == 0)
        return path

    def step_stat(self):
        path = self.name()
        found = os.stat(path, follow_symlinks=self.chance.randrange(2) == 0)
        return path, says(found)

    def step_fstat(self):
        return says(os.fstat(self.file()))

    def step_list(self):
        return sorted((entry.name, entry.is_dir(follow_symlinks=False), entry.is_symlink())
                      for entry in os.scandir(self.name()))

    def step_readlink(self):
        return os.readlink(self.name())

    def step_access(self):
        return os.access(self.name(), os.R_OK | os.W_OK)

    def step_chdir(self):
        before = os.getcwd()
        os.chdir(self.name())
        inside = os.path.relpath(os.getcwd(), before)
        os.chdir(before)
        return inside

    def step_lock(self):
        return fcntl.flock(self.file(), fcntl.LOCK_EX | fcntl.LOCK_NB)


def hash_of(data):
    return sum((at + 1) * value for at, value in enumerate(data)) & 0xffffffff


def error_of(result):
    return result if result == 0 else os.strerror(ctypes.get_errno())


def says(found):
    """What every file system should say alike; folders count and measure as they like."""
    folder = stat.S_ISDIR(found.st_mode)
    return oct(found.st_mode), "-" if folder else (found.st_nlink, found.st_size)


def run(folder, steps, seed):
    os.mkdir(os.path.join(folder, "inside"))
    os.chdir(os.path.join(folder, "inside"))
    world = World(random.Random(seed))
    kinds = sorted(name for name in dir(World) if name.startswith("step_"))
    for number in range(steps):
        kind = world.chance.choice(kinds)
        world.named = []
        try:
            result = getattr(world, kind)()
        except OSError as error:
            result = error.strerror
        print(number, kind[5:], world.named, result)
    for descriptor in world.open:
        os.close(descriptor)


def main():
    steps, seed = int(sys.argv[1]), int(sys.argv[2])
    os.umask(0o027)
    work = os.getcwd()
    print("in the working directory")
    run(work, steps, seed)
    with tempfile.TemporaryDirectory() as folder:
        print("in", os.path.dirname(folder))
        run(folder, steps, seed)
        os.chdir("/")


main()
