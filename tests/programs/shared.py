# SPDX-License-Identifier: MIT
"""Memory that shows a file and is written to, beside calls on that file: the same as on the host. In the working
directory and in /tmp, which are different file systems."""
import dbm.dumb
import mmap
import os
import random
import sqlite3
import tempfile

PAGE = mmap.PAGESIZE


def show(what, *values):
    print(" ", what, *values, flush=True)


def stores_and_calls():
    """What one does the other sees, both ways, through all descriptors."""
    file = os.open("stores", os.O_RDWR | os.O_CREAT, 0o644)
    os.write(file, b"a" * (3 * PAGE + 100))
    memory = mmap.mmap(file, 0)
    second = mmap.mmap(file, PAGE, offset=PAGE)
    reader = os.open("stores", os.O_RDONLY)
    memory[10:15] = b"store"
    os.pwrite(file, b"call", PAGE + 5)
    show("seen", os.pread(reader, 20, 5), memory[PAGE:PAGE + 12], second[:12])
    second[0:3] = b"two"
    show("both", memory[PAGE:PAGE + 5], os.pread(file, 5, PAGE))
    memory.flush()
    second.close()
    os.ftruncate(file, PAGE)
    show("cut", os.pread(reader, 3, PAGE), memory[0:12])
    os.ftruncate(file, 2 * PAGE)
    show("grown", memory[PAGE:PAGE + 3], len(memory))
    memory[PAGE] = 7
    os.close(file)
    memory[PAGE + 1] = 8  # the mapping keeps it open
    show("closed", os.pread(reader, 3, PAGE), os.stat("stores").st_size)
    memory.resize(5 * PAGE)
    memory[4 * PAGE] = 9
    memory.close()
    with open("stores", "rb") as again:
        content = again.read()
    show("left", len(content), content[10:15], content[PAGE:PAGE + 2], content[4 * PAGE])
    with open("stores", "rb") as again, mmap.mmap(again.fileno(), 0, access=mmap.ACCESS_READ) as read_only:
        show("read", read_only.find(b"store"), read_only[4 * PAGE])
    os.close(reader)


def by_chance():
    """Stores, loads and calls in any order are what they would be on an array."""
    chance = random.Random(3)
    bytes_there = 64 * PAGE
    file = os.open("chance", os.O_RDWR | os.O_CREAT, 0o644)
    os.ftruncate(file, bytes_there)
    memory = mmap.mmap(file, bytes_there)
    wrong = 0
    expected = bytearray(bytes_there)
    for step in range(3000):
        at = chance.randrange(bytes_there - 9000)
        data = bytes([step % 256]) * chance.choice([1, 3, 100, 5000])
        kind = chance.randrange(6)
        if kind == 0:
            memory[at:at + len(data)] = data
            expected[at:at + len(data)] = data
        elif kind == 1:
            os.pwrite(file, data, at)
            expected[at:at + len(data)] = data
        elif kind == 2:
            wrong += memory[at:at + 5000] != expected[at:at + 5000]
        elif kind == 3:
            wrong += os.pread(file, 5000, at) != expected[at:at + 5000]
        elif step % 10 == 0:
            os.ftruncate(file, at)
            os.ftruncate(file, bytes_there)
            expected[at:] = bytes(bytes_there - at)
        elif step % 35 == 0:
            os.fsync(file)
        elif step % 5 == 0:
            memory.madvise(mmap.MADV_DONTNEED)
    memory.close()
    os.close(file)
    with open("chance", "rb") as again:
        wrong += again.read() != expected
    show("wrong", wrong)


def databases():
    """SQLite's write-ahead log has its index in shared memory."""
    for _ in range(2):
        connections = [sqlite3.connect("wal.db", isolation_level=None) for _ in range(2)]
        show("mode", connections[0].execute("pragma journal_mode=wal").fetchone())
        for one in connections:
            one.execute("pragma synchronous=off")  # what is tested is not the disk
        connections[0].execute("create table if not exists t(a integer primary key, b text)")
        for number in range(200):
            connections[number % 2].execute("insert into t(b) values(?)", ("x" * number,))
        show("rows", [one.execute("select count(*), sum(length(b)) from t").fetchone() for one in connections])
        connections[0].execute("pragma mmap_size=1000000")
        show("check", connections[0].execute("pragma integrity_check").fetchone())
        for connection in connections:
            connection.close()
    show("files", sorted(name for name in os.listdir(".") if name.startswith("wal")))
    with dbm.dumb.open("names", "c") as names:
        for number in range(100):
            names[str(number)] = str(number * number)
    with dbm.dumb.open("names", "r") as names:
        show("names", len(names), names["9"])


def left_mapped():
    """What is still mapped at the end is written."""
    file = os.open("left-mapped", os.O_RDWR | os.O_CREAT, 0o644)
    os.ftruncate(file, 100000)
    memory = mmap.mmap(file, 0)
    memory[50000:50004] = b"last"
    os.close(file)
    return memory


def main():
    os.umask(0o022)
    for folder in (os.getcwd(), tempfile.mkdtemp(dir="/tmp")):
        os.chdir(folder)
        print("in", "/tmp" if folder.startswith("/tmp/tmp") else "the working directory")
        stores_and_calls()
        by_chance()
        databases()
        memory = left_mapped()
    for name in os.listdir("."):
        os.unlink(name)
    os.chdir("/")
    os.rmdir(folder)
    show("still", memory[50000:50004])
    os._exit(4)


main()
