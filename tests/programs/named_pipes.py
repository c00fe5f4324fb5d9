# SPDX-License-Identifier: MIT
"""Pipes with names: made, opened from both sides, waited for, and what is said of them."""
import os
import select
import stat
import subprocess
import tempfile
import threading


def attempt(name, call, *arguments):
    try:
        print(name, call(*arguments))
    except OSError as error:
        print(name, error.strerror)


def no_wait(path, flags):
    return os.close(os.open(path, flags | os.O_NONBLOCK))


def of_several_kinds(folder):
    path = os.path.join(folder, "file")
    attempt("regular", os.mknod, path, 0o640)
    print(oct(os.stat(path).st_mode), os.stat(path).st_size)
    attempt("again", os.mknod, path, 0o640)
    attempt("nowhere", os.mkfifo, os.path.join(folder, "none", "pipe"))
    attempt("with a slash", os.mkfifo, os.path.join(folder, "none") + "/")
    attempt("of a file", os.mkfifo, os.path.join(path, "pipe"))
    attempt("a folder", os.mknod, os.path.join(folder, "folder"), stat.S_IFDIR | 0o700)
    attempt("a link", os.mknod, os.path.join(folder, "link"), stat.S_IFLNK | 0o700)
    attempt("socket", os.mknod, os.path.join(folder, "socket"), stat.S_IFSOCK | 0o700)
    print(sorted((entry.name, entry.is_file(), stat.S_IFMT(entry.stat().st_mode)) for entry in os.scandir(folder)))


def without_waiting(path):
    attempt("make", os.mkfifo, path, 0o604)
    print(oct(os.stat(path).st_mode), stat.S_ISFIFO(os.lstat(path).st_mode), os.stat(path).st_size)
    attempt("nobody reads", no_wait, path, os.O_WRONLY)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    poll = select.poll()
    poll.register(reader, select.POLLIN)
    print("nobody writes", os.read(reader, 10), [bits for _, bits in poll.poll(0)])
    writer = os.open(path, os.O_WRONLY)
    attempt("empty", os.read, reader, 10)
    os.write(writer, b"text")
    os.close(writer)
    print([bits for _, bits in poll.poll(0)], os.read(reader, 10), os.read(reader, 10))
    print([bits for _, bits in poll.poll(0)])
    writer = os.open(path, os.O_WRONLY)
    print([bits for _, bits in poll.poll(0)])
    os.close(reader)
    attempt("gone", os.write, writer, b"text")
    os.close(writer)
    both = os.open(path, os.O_RDWR)
    os.write(both, b"both")
    print(os.read(both, 10), os.fstat(both).st_ino == os.stat(path).st_ino)
    attempt("seek", os.lseek, both, 0, os.SEEK_SET)
    os.unlink(path)
    os.write(both, b"still there")
    print(os.read(both, 100))
    os.close(both)


def between_threads(path):
    os.mkfifo(path)
    got = []

    def read():
        with open(path, "rb") as pipe:
            got.append(pipe.read())

    reader = threading.Thread(target=read)
    reader.start()
    with open(path, "wb") as pipe:
        pipe.write(b"x" * 300000)
    reader.join()
    print("threads", len(got[0]))
    os.rename(path, path + "2")
    os.link(path + "2", path)
    print(os.stat(path).st_nlink)


def between_processes(folder):
    script = """
        mkfifo pipe; mkfifo pipe; echo $?
        exec 3<> pipe
        for one in a b c; do echo $one > pipe; done
        read -r x <&3; read -r y <&3; read -r z <&3; echo $x$y$z
        exec 3>&-
        (seq 1 20000 > pipe) &
        tail -n 1 < pipe
        wait
        cat pipe > copy & echo once > pipe; wait; cat copy
        tr a-z A-Z < pipe > copy & { echo one; echo two; } > pipe; wait; cat copy
        [ -p pipe ] && echo it is a pipe
        ./pipe; echo $?
        mkfifo -m 600 new && stat -c '%F %a' new; rm new
        """
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False, cwd=folder)
    print(done.returncode, done.stdout, done.stderr)


def main():
    os.umask(0o022)
    with tempfile.TemporaryDirectory() as folder:
        of_several_kinds(folder)
        without_waiting(os.path.join(folder, "one"))
        between_threads(os.path.join(folder, "two"))
        between_processes(folder)


main()
