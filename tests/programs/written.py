# SPDX-License-Identifier: MIT
"""Writes files in the working directory in every way that a cache could get wrong, and ends as it is told to,
with files open: what is in them afterwards is compared. Usage: written.py exit|signal|fault|close"""
import fcntl
import os
import signal
import sys


def show(what, *values):
    print(what, *values, flush=True)


def several_descriptors():
    """Two names, four descriptors, one file."""
    with open("one", "wb") as file:
        file.write(b"x" * 10000)
    os.link("one", "two")
    writer, other = os.open("one", os.O_RDWR), os.open("two", os.O_RDWR)
    reader, appender = os.open("two", os.O_RDONLY), os.open("one", os.O_WRONLY | os.O_APPEND)
    os.pwrite(writer, b"first", 4094)
    os.pwrite(other, b"second", 8190)
    show("read", os.pread(reader, 20, 4090), os.pread(writer, 20, 8186), os.stat("one").st_size)
    os.write(appender, b"appended")
    os.pwrite(writer, b"behind", 20000)
    os.write(appender, b"again")
    show("sizes", os.fstat(reader).st_size, os.lseek(other, 0, os.SEEK_END), os.stat("two").st_blocks)
    os.ftruncate(other, 20003)
    os.pwrite(writer, b"Z", 30000)
    show("zeroes", os.pread(reader, 12, 19998), os.pread(reader, 5, 25000), len(os.read(reader, 99999)))
    os.unlink("one")
    show("links", os.fstat(writer).st_nlink)
    for descriptor in (writer, other, reader, appender):
        os.close(descriptor)


def replaced():
    """What is renamed over another is whole; what was open before stays what it was."""
    with open("target", "w", encoding="ascii") as old:
        old.write("old " * 2000)
        old.flush()
        with open("target.new", "w", encoding="ascii") as new:
            new.write("new " * 3000)
            new.flush()
            os.rename("target.new", "target")
            show("replaced", os.stat("target").st_size, os.fstat(old.fileno()).st_nlink)
            new.write("and more")
        old.write("lost")
    os.utime("target", ns=(10**18, 10**18))
    with open("target", "r+", encoding="ascii") as file:
        file.write("NEW")
        file.flush()
        os.utime(file.fileno(), ns=(10**18, 10**18))
    show("time", os.stat("target").st_mtime_ns)


def sparse():
    """Holes stay holes."""
    descriptor = os.open("sparse", os.O_RDWR | os.O_CREAT)
    for at in (0, 1 << 20, 3 << 20, 40 << 20):
        os.pwrite(descriptor, b"data", at)
    show("sparse", os.fstat(descriptor).st_size, os.fstat(descriptor).st_blocks < 200)
    os.posix_fallocate(descriptor, 5 << 20, 8192)
    show("allocated", os.pread(descriptor, 4, 3 << 20), os.pread(descriptor, 4, 5 << 20))
    os.close(descriptor)


def synced():
    """Flags and calls that bring data to the disk."""
    descriptor = os.open("synced", os.O_RDWR | os.O_CREAT | os.O_DSYNC)
    for line in range(20):
        os.write(descriptor, b"line %d\n" % line)
    os.fsync(descriptor)
    os.fdatasync(descriptor)
    os.sync()
    show("flags", bool(fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_DSYNC))
    os.close(descriptor)
    direct = os.open("synced", os.O_RDWR)
    os.pwrite(direct, b"LINE", 0)
    show("copied", os.sendfile(os.open("copied", os.O_WRONLY | os.O_CREAT), direct, 0, 1000))


def main():
    os.umask(0o022)
    several_descriptors()
    replaced()
    sparse()
    synced()
    left = os.open("left-open", os.O_WRONLY | os.O_CREAT, 0o644)
    for line in range(5000):
        os.write(left, b"%d: not yet at the host\n" % line)
    show("ends by", sys.argv[1])
    if sys.argv[1] == "exit":
        os._exit(3)
    elif sys.argv[1] == "signal":
        os.kill(os.getpid(), signal.SIGTERM)
    elif sys.argv[1] == "fault":
        signal.signal(signal.SIGSEGV, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGSEGV)
    os.close(left)


main()
