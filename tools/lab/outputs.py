# SPDX-License-Identifier: MIT
"""What a tool writes: files that the user names, and its standard output.

    the path names             what happens
    nothing, a dangling link   a new file (where the link points), when all of it is there
    a regular file             keeps inode, mode, owner and links; overwritten when all is there
    a pipe, a device           written to
    -, /dev/stdout, /dev/fd/N  that descriptor is written to, from where it stands

As vmm/io/output_file.hpp has it for the vmm and hvtrace."""
import errno
import os
import re
import shutil
import stat
import sys
import tempfile


class Unwritable(Exception):
    """Why, in one line, with the path."""


def descriptor_of(path):
    """The descriptor that a path stands for, through symbolic links; None when it is none of ours."""
    if path == "-":
        return 1
    for _ in range(40):  # as many links as Linux follows
        named = re.fullmatch(r"/(?:dev|proc/self|proc/%d)/fd/(\d+)" % os.getpid(), path)
        if named:
            return int(named[1])
        folder = os.path.realpath(os.path.dirname(path) or ".")
        path = os.path.join(folder, os.path.basename(path))
        named = re.fullmatch(r"/proc/(?:self|%d)/fd/(\d+)" % os.getpid(), path)
        if named:
            return int(named[1])
        if not os.path.islink(path):
            return None
        path = os.path.join(folder, os.readlink(path))
    return None


def is_same_file(path, other):
    """Whether both are one regular file, by whatever names."""
    try:
        one, two = os.stat(path), os.stat(other)
    except OSError:
        return os.path.realpath(path) == os.path.realpath(other)
    return stat.S_ISREG(one.st_mode) and os.path.samestat(one, two)


class Output:
    """An output of a tool, as a binary file to write to. Made before the work, so that what is not
    possible is told before it; with `with`, what was written is put in place at the end, unless the
    work failed: then everything is as it was. `inputs` are paths that it must not overwrite.

    Raises Unwritable."""

    def __init__(self, path, inputs=()):
        self._path = path
        self._target = None  # what exists, or is written to directly
        self._spool = None
        for other in inputs:
            if path != "-" and is_same_file(path, other):
                raise Unwritable(f"{path}: is the input {other}; it would be overwritten")
        try:
            self._open(descriptor_of(path))
        except OSError as error:
            raise self._cannot(error) from error

    def _open(self, descriptor):
        if descriptor is not None:
            if descriptor == 1:
                sys.stdout.flush()
            self._target = os.dup(descriptor)
            return
        self._real = os.path.realpath(self._path)  # of a dangling link: where it points
        if os.path.exists(self._real):
            if os.path.isdir(self._real):
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
            self._target = os.open(self._real, os.O_WRONLY | os.O_CLOEXEC)
            if not stat.S_ISREG(os.fstat(self._target).st_mode):
                return
            try:
                os.pwrite(self._target, b"", 0)
            except OSError as error:  # such as those of /proc
                raise Unwritable(f"{self._path}: not a file that keeps what is written") from error
        # Without a name: whatever ends the tool leaves nothing behind.
        self._spool = tempfile.TemporaryFile(dir=os.path.dirname(self._real), buffering=0)

    def _cannot(self, error):
        where = "standard output" if self._path == "-" else self._path
        return Unwritable(f"{where}: cannot be written: {error.strerror or error}")

    def write(self, data):
        """All of `data`, bytes or str."""
        if isinstance(data, str):
            data = data.encode()
        try:
            into = self._target if self._spool is None else self._spool.fileno()
            left = memoryview(data)
            while left:
                left = left[os.write(into, left):]
            return len(data)
        except OSError as error:
            raise self._cannot(error) from error

    def _put_in_place(self):
        self._spool.seek(0, os.SEEK_END)
        size = self._spool.tell()
        self._spool.seek(0)
        fresh = self._target is None
        if fresh:
            self._target = os.open(self._real, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC,
                                   0o666)
        before = os.fstat(self._target).st_size
        try:
            if size:
                self._reserve(size)
        except OSError:
            os.ftruncate(self._target, before)
            if fresh:
                os.unlink(self._real)
            raise
        with os.fdopen(self._target, "wb", closefd=False) as target:
            shutil.copyfileobj(self._spool, target, 1 << 20)
        os.ftruncate(self._target, size)

    def _reserve(self, size):
        """A full disk is found out before the old content is touched."""
        try:
            os.posix_fallocate(self._target, 0, size)
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL):
                raise

    def close(self, good=True):
        try:
            if good and self._spool is not None:
                self._put_in_place()
        except OSError as error:
            raise self._cannot(error) from error
        finally:
            if self._spool is not None:
                self._spool.close()
            if self._target is not None:
                os.close(self._target)
            self._spool = self._target = None

    def __enter__(self):
        return self

    def __exit__(self, kind, _value, _trace):
        self.close(good=kind is None)


class _Talk:
    """Standard output or error of a tool. That nobody reads it any more is no reason to break off
    work whose results go elsewhere; that it cannot be written otherwise is told at the end."""

    def __init__(self, stream):
        self._stream = stream
        self.error = None

    def _try(self, call, *arguments):
        if self.error is None:
            try:
                return call(*arguments)
            except OSError as error:
                self.error = error
                # What is still buffered must not be tried again at exit.
                os.dup2(os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC), self._stream.fileno())
        return None

    def write(self, text):
        self._try(self._stream.write, text)
        return len(text)

    def flush(self):
        self._try(self._stream.flush)

    def __getattr__(self, name):
        return getattr(self._stream, name)


def occupy_standard_descriptors():
    """What is closed of 0, 1 and 2 would be the next file that is opened: a result would be what some
    child prints into."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            null = os.open(os.devnull, os.O_RDWR)  # the lowest that is free
            os.set_inheritable(null, True)
    for name in ("stdin", "stdout", "stderr"):
        if getattr(sys, name) is None:
            # print(file=None) would go to standard output.
            setattr(sys, name, open(os.devnull, "r" if name == "stdin" else "w",  # pylint: disable=R1732
                                    encoding="utf-8"))


def run(name, main):
    """Ends the process with main()'s exit status; 2 when an output or standard output could not be
    written, with a line that says so. That a reader of standard output left is no failure."""
    occupy_standard_descriptors()
    sys.stdout = talk = _Talk(sys.stdout)
    try:
        status = main() or 0
    except Unwritable as error:
        print(f"{name}: {error}", file=sys.stderr)
        status = 2
    except SystemExit as error:  # argparse, and sys.exit("why")
        if isinstance(error.code, str):
            print(error.code, file=sys.stderr)
        status = 1 if isinstance(error.code, str) else error.code or 0
    except KeyboardInterrupt:
        status = 130
    talk.flush()
    if talk.error is not None and not isinstance(talk.error, BrokenPipeError):
        print(f"{name}: standard output: cannot be written: {talk.error.strerror}", file=sys.stderr)
        status = status or 2
    sys.exit(status)
