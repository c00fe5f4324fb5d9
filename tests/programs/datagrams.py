# SPDX-License-Identifier: MIT
"""Datagrams of AF_UNIX: to names that are paths or abstract, between threads and processes, waited for."""
import array
import logging.handlers
import os
import select
import socket
import sys
import tempfile
import threading


def attempt(name, call, *arguments):
    try:
        print(name, call(*arguments))
    except OSError as error:
        print(name, error.strerror)


def make(name=None):
    made = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    if name is not None:
        made.bind(name)
    return made


def to_names():
    server, client = make("server"), make("\0client")
    print(client.sendto(b"by path", "server"), server.recvfrom(100))
    print(server.sendto(b"abstract", b"\0client"), client.recvfrom(3, socket.MSG_PEEK), client.recvfrom(3))
    nameless = make()
    print(nameless.sendto(b"", "server"), server.recvfrom(100))
    print(nameless.sendmsg([b"in ", b"parts"], [], 0, "server"), server.recvmsg(100))
    attempt("no such", nameless.sendto, b"x", "none")
    attempt("no such abstract", nameless.sendto, b"x", "\0none")
    open("file", "w").close()
    attempt("a file", nameless.sendto, b"x", "file")
    attempt("no name", nameless.send, b"x")
    attempt("twice", client.bind, "other")
    attempt("taken", make().bind, "server")
    attempt("listen", server.listen)
    attempt("accept", server.accept)
    attempt("stream to it", socket.socket(socket.AF_UNIX).connect, "server")
    stream = socket.socket(socket.AF_UNIX)
    stream.bind("stream")
    stream.listen()
    attempt("to a stream", nameless.sendto, b"x", "stream")
    attempt("too long", nameless.sendto, b"x" * 300000, "server")
    print(nameless.getsockname(), server.getsockname(), client.getsockname())
    attempt("peer", nameless.getpeername)
    nameless.bind("")
    print(len(nameless.getsockname()), nameless.getsockname()[0])
    chosen = make()
    chosen.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
    chosen.sendto(b"x", "server")
    print(len(server.recvfrom(1)[1]))


def connected():
    server, client, third = make("s"), make("c"), make("t")
    client.connect("s")
    print(client.getpeername(), client.send(b"one"), server.recvfrom(10))
    attempt("not for others", third.sendto, b"x", "c")
    attempt("not with others", third.connect, "c")
    server.connect("c")
    print(server.send(b"back"), client.recv(10), server.send(b"lost"))
    client.connect("t")
    attempt("reset", server.recv, 10)
    client.close()
    attempt("refused", server.send, b"x")
    attempt("nobody", server.send, b"x")
    os.unlink("s")
    attempt("gone", third.sendto, b"x", "s")
    third.shutdown(socket.SHUT_WR)
    attempt("shut", third.sendto, b"x", "t")


def full():
    server, client = make("full"), make()
    client.setblocking(False)
    count = 0
    try:
        while True:
            count += client.sendto(b"x", "full")
    except BlockingIOError:
        print("full", count)
    peer = make()
    peer.connect("full")
    poll = select.poll()
    for one in server, client, peer:
        poll.register(one, select.POLLIN | select.POLLOUT)
    print([bits for _, bits in poll.poll(0)])
    client.setblocking(True)
    got = []
    taker = threading.Thread(target=lambda: [got.append(server.recv(10)) for _ in range(2 * count)])
    taker.start()
    for _ in range(count):
        client.sendto(b"y", "full")
    taker.join()
    print(got.count(b"x"), got.count(b"y"))
    one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    one.setblocking(False)
    count = 0
    try:
        while True:
            count += one.send(b"x")
    except BlockingIOError:
        print("pair", count)
    one.close()
    print(len(other.recv(10)))


def with_files():
    server, client = make("f"), make()
    reader, writer = os.pipe()
    client.sendmsg([b"file"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [writer]))], 0, "f")
    data, control, _, sender = server.recvmsg(10, 100)
    number = array.array("i", control[0][2])[0]
    os.write(number, b"through it")
    print(data, sender, os.read(reader, 100))


def between_processes():
    sys.stdout.flush()
    server = make("p")
    child = os.fork()
    if child == 0:
        client = make("q")
        client.sendto(b"from the child", "p")
        print(client.recvfrom(100), flush=True)
        os._exit(0)
    data, sender = server.recvfrom(100)
    print(data, sender, flush=True)
    server.sendto(b"to the child", sender)
    os.waitpid(child, 0)


def logged():
    server = make("log")
    handler = logging.handlers.SysLogHandler("log")
    log = logging.getLogger("test")
    log.addHandler(handler)
    log.warning("a line")
    print(server.recv(100))


def main():
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        for part in to_names, connected, full, with_files, between_processes, logged:
            part()
        os.chdir("/")


main()
