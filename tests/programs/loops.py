# SPDX-License-Identifier: MIT
"""An event loop of Python's own: epoll, a pair of sockets, timers, signals; selectors of all kinds."""
import asyncio
import os
import selectors
import signal
import socket
import threading


async def answer(reader, writer):
    while line := await reader.readline():
        writer.write(line.upper())
        await writer.drain()
    writer.close()


async def main():
    loop = asyncio.get_running_loop()
    print(type(loop._selector).__name__)
    one, other = socket.socketpair()
    print(one.family.name, one.type.name, repr(one.getsockname()), repr(other.getpeername()))
    reader, writer = await asyncio.open_connection(sock=one)
    server = asyncio.create_task(answer(*await asyncio.open_connection(sock=other)))
    for number in range(3):
        writer.write(f"line {number}\n".encode())
        print(await reader.readline())
    big = b"x" * 1000000 + b"\n"
    reader._limit = server_limit = 2000000
    writer.write(b"end\n")
    print(await reader.readline(), server_limit)
    writer.write_eof()
    print(await reader.read())
    await server
    pipe_reader, pipe_writer = os.pipe()
    got = loop.create_future()
    loop.add_reader(pipe_reader, lambda: got.set_result(os.read(pipe_reader, 100)))
    loop.call_later(0.02, os.write, pipe_writer, b"later")
    print(await got, len(big))
    came = loop.create_future()
    loop.add_signal_handler(signal.SIGUSR1, lambda: came.set_result("signal"))
    loop.call_soon(os.kill, os.getpid(), signal.SIGUSR1)
    print(await came)
    try:
        await asyncio.wait_for(asyncio.Event().wait(), 0.02)
    except asyncio.TimeoutError:
        print("time is over")


def between_threads():
    """More than a pipe and a socket hold at once: each side waits for the other again and again."""
    reader, writer = os.pipe()
    one, other = socket.socketpair()

    def send():
        os.write(writer, bytes(1000000))
        os.writev(writer, [bytes(100000)] * 5)
        os.close(writer)
        one.sendall(bytes(3000000))
        one.close()

    thread = threading.Thread(target=send)
    thread.start()
    got = 0
    while part := os.read(reader, 50000):
        got += len(part)
    print(got)
    got = len(other.recv(1000000, socket.MSG_WAITALL))
    print(got)
    while part := other.recv(50000):
        got += len(part)
    print(got)
    thread.join()


asyncio.run(main())
between_threads()
for kind in (selectors.SelectSelector, selectors.PollSelector, selectors.EpollSelector):
    one, other = socket.socketpair()
    with kind() as selector:
        selector.register(one, selectors.EVENT_READ, "one")
        selector.register(other, selectors.EVENT_READ | selectors.EVENT_WRITE, "other")
        print([(key.data, events) for key, events in selector.select(0)])
        other.send(b"x")
        print(sorted((key.data, events) for key, events in selector.select()))
        other.close()
    one.close()
