# SPDX-License-Identifier: MIT
"""Pipes of a program with itself, and waiting for files to be ready."""
import fcntl
import os
import select
import signal
import time


def attempt(name, call, *arguments):
    try:
        print(name, call(*arguments))
    except OSError as error:
        print(name, error.strerror)


def ready(poll, milliseconds):
    return [(number, bits) for number, bits in poll.poll(milliseconds) if bits]


def main():
    reader, writer = os.pipe2(os.O_NONBLOCK)
    attempt("empty", os.read, reader, 10)
    attempt("put", os.write, writer, b"abc")
    attempt("wrong way", os.write, reader, b"abc")
    attempt("other wrong way", os.read, writer, 3)
    attempt("take", os.read, reader, 2)
    attempt("seek", os.lseek, reader, 0, os.SEEK_CUR)
    attempt("with offset", os.pread, reader, 1, 0)
    attempt("take", os.read, reader, 2)
    attempt("much", os.write, writer, bytes(range(256)) * 1000)
    attempt("full", os.write, writer, b"x" * 4096)
    poll = select.poll()
    poll.register(reader, select.POLLIN)
    poll.register(writer, select.POLLOUT)
    print("poll", [bits for _, bits in ready(poll, 0)])
    got = b""
    while True:
        try:
            got += os.read(reader, 5000)
        except BlockingIOError:
            break
    print("all", len(got), got[0], sum(got))
    print("poll", [bits for _, bits in ready(poll, 0)])
    began = time.monotonic()
    print("select", select.select([reader], [], [], 0.05), time.monotonic() - began >= 0.05)
    print("select", select.select([reader], [writer], [], 0) == ([], [writer], []))
    copy = os.dup(writer)
    os.close(writer)
    os.write(copy, b"end")
    os.close(copy)
    attempt("last", os.read, reader, 10)
    attempt("end", os.read, reader, 10)
    print("poll", [bits for number, bits in ready(poll, 0) if number == reader])
    reader, writer = os.pipe()
    print(fcntl.fcntl(reader, fcntl.F_GETFL) & os.O_ACCMODE, fcntl.fcntl(writer, fcntl.F_GETFL) & os.O_ACCMODE)
    os.close(reader)
    attempt("nobody reads", os.write, writer, b"x")
    print("stdin", select.select([0], [], [], 5)[0], os.read(0, 0), os.read(0, 100))
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    print("the next write ends it", flush=True)
    os.write(writer, b"x")
    print("not reached")


main()
