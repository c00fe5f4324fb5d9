# SPDX-License-Identifier: MIT
"""More descriptors than the usual 1,024: opened, copied, waited for, and as many as the limit says."""
import ctypes
import os
import resource
import select
import socket


def main():
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (4096, most))
    first = os.open("/etc/passwd", os.O_RDONLY)
    files = [os.open("/etc/passwd", os.O_RDONLY) for _ in range(1500)]
    print(files[-1] > 1500, os.read(files[-1], 5))
    pairs = [socket.socketpair() for _ in range(600)]
    reader, writer = os.pipe()
    print(reader > 2700, writer - reader)
    poll = select.poll()
    poll.register(reader, select.POLLIN)
    queue = select.epoll()
    queue.register(reader, select.EPOLLIN)
    print(poll.poll(0), queue.poll(0))
    os.write(writer, b"x")
    print(len(poll.poll()), len(queue.poll()))
    wanted = (ctypes.c_uint64 * 64)()
    wanted[reader // 64] = 1 << (reader % 64)
    wanted[writer // 64] |= 1 << (writer % 64)
    got = ctypes.CDLL(None).select(writer + 1, wanted, None, None, None)
    print(got, [at * 64 - reader // 64 * 64 for at, word in enumerate(wanted) if word],
          bin(wanted[reader // 64]).count("1"))
    last = reader
    try:
        while True:
            last = os.dup(first)
    except OSError as error:
        print(last, error.strerror)
    os.close(files[700])
    print(os.dup(first) == files[700])
    child = os.fork()
    if child == 0:
        os.close(files[100])
        os._exit(0 if os.dup(first) == files[100] else 1)
    print(os.waitpid(child, 0)[1], len(pairs))


main()
