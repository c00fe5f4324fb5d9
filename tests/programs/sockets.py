# SPDX-License-Identifier: MIT
# Sockets with names, both ends in one program: TCP of both kinds and AF_UNIX.
import asyncio
import errno
import http.server
import os
import select
import socket
import stat
import struct
import tempfile
import threading
import urllib.request


def serve(listener, times):
    for _ in range(times):
        connection, _ = listener.accept()
        got = b""
        while more := connection.recv(65536):
            got += more
        connection.sendall(b"got %d" % len(got))
        connection.close()


def error_of(what):
    try:
        what()
    except OSError as error:
        return error.strerror
    return "none"


folder = tempfile.TemporaryDirectory()
os.chdir(folder.name)
for family, address in ((socket.AF_INET, ("127.0.0.1", 0)), (socket.AF_INET6, ("::1", 0)),
                        (socket.AF_INET, ("0.0.0.0", 0)), (socket.AF_UNIX, "stream"),
                        (socket.AF_UNIX, "\0abstract")):
    listener = socket.socket(family)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(address)
    listener.listen(5)
    server = threading.Thread(target=serve, args=(listener, 2))
    server.start()
    for _ in range(2):
        client = socket.socket(family)
        client.connect(listener.getsockname())
        peer = client.getpeername()
        client.sendall(b"x" * 300000)
        client.shutdown(socket.SHUT_WR)
        print(family.name, client.recv(100), client.recv(100), peer == listener.getsockname())
        client.close()
    server.join()
    listener.close()

s = socket.socket()
print(error_of(lambda: s.connect(("127.0.0.1", 1))), error_of(s.getpeername), error_of(s.listen))
print(s.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN), s.getsockopt(socket.SOL_SOCKET, socket.SO_PROTOCOL))
s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", 0, 20000))
print("accept, too late:", error_of(s.accept))
poll = select.poll()
poll.register(s)
print(poll.poll(0))
client = socket.create_connection(s.getsockname())
print(poll.poll(0)[0][1])
server, who = s.accept()
print(who == client.getsockname(), server.getsockname() == client.getpeername())
server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", 0, 20000))
print("recv, too late:", error_of(lambda: server.recv(1)))
server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", 0, 0))
client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
print(client.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0,
      client.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, 8))
client.sendmsg([b"one ", b"two "], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack("i", 0))])  # not by TCP
client.send(b"three")
parts = bytearray(6), bytearray(7)
print(server.recv(4, socket.MSG_PEEK), server.recvmsg_into(parts, 0, socket.MSG_WAITALL)[0], parts)
gone = socket.create_connection(s.getsockname())
was = gone.getsockname()
gone.close()
print(s.accept()[1] == was)
client.close()
print(server.recv(1), error_of(lambda: [server.send(b"x") for _ in range(3)]))
other = socket.socket()
print(error_of(lambda: other.bind(s.getsockname())), "|", error_of(lambda: other.bind(("192.0.2.1", 0))))
path = socket.socket(socket.AF_UNIX)
print(error_of(lambda: path.connect("nothing")), "|", error_of(lambda: path.bind("stream")), "|",
      error_of(lambda: path.connect("stream")), "|", error_of(lambda: open("stream")), "|",
      stat.S_ISSOCK(os.stat("stream").st_mode))
os.unlink("stream")
path.bind("stream")
path.listen()
print(path.getsockname(), error_of(lambda: socket.socket(socket.AF_UNIX).connect(os.path.join(folder.name, "stream"))))
packets = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
print(error_of(lambda: packets.connect("stream")))


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = self.path.encode() * 1000
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


web = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
threading.Thread(target=web.serve_forever, daemon=True).start()
for name in ("/a", "/bcd"):
    with urllib.request.urlopen(f"http://127.0.0.1:{web.server_port}{name}") as answer:
        print(answer.status, len(answer.read()))
web.shutdown()


async def echo(reader, writer):
    writer.write(await reader.read())
    writer.close()


async def ask(port, number):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"%d" % number * 5000)
    writer.write_eof()
    return len(await reader.read())


async def converse():
    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    print(await asyncio.gather(*(ask(port, number) for number in range(20))))
    server.close()


asyncio.run(converse())

# Of TCP: connections that nobody waits for, and ends that have gone.
s = socket.create_server(("127.0.0.1", 0))
client = socket.socket()
client.setblocking(False)
print([errno.errorcode.get(client.connect_ex(s.getsockname())) for _ in range(3)])
client.setblocking(True)
server, _ = s.accept()
client.close()
print(server.getpeername() != s.getsockname(), [error_of(lambda: server.send(b"x")) for _ in range(3)], server.recv(1))
client = socket.create_connection(s.getsockname())
server, _ = s.accept()
client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
client.close()
print(error_of(lambda: server.recv(1)), server.recv(1))
client = socket.create_connection(s.getsockname())
s.close()
print(error_of(lambda: client.recv(1)))
both = socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True)
client = socket.create_connection(("127.0.0.1", both.getsockname()[1]))
server, who = both.accept()
print(who[0], server.getpeername()[0], client.getpeername()[0])

# More than a listener has places for: they wait for one, and nobody is refused. (Linux's TCP may ask
# again for minutes.)
few = socket.socket(socket.AF_UNIX)
few.bind("few")
few.listen(1)
answers = []


def come():
    with socket.socket(socket.AF_UNIX) as guest:
        answers.append(error_of(lambda: guest.connect("few")))
        answers.append(guest.recv(100))


guests = [threading.Thread(target=come) for _ in range(12)]
for guest in guests:
    guest.start()
for _ in guests:
    few.accept()[0].send(b"welcome")
for guest in guests:
    guest.join()
print(sorted(map(str, answers)))
os.chdir("/")
