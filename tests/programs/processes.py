# SPDX-License-Identifier: MIT
"""Processes: spawned, forked, waited for, killed; what they share, and what is their own."""
import mmap
import multiprocessing
import os
import resource
import signal
import subprocess
import sys


def spawned():
    print(subprocess.run("echo a; echo b >&2; exit 5", shell=True, capture_output=True))
    print(subprocess.check_output(["sort"], input=b"b\na\n"))
    print(len(subprocess.run(["cat"], input=b"x" * 2_000_000, stdout=subprocess.PIPE).stdout))
    for end in (subprocess.Popen.terminate, subprocess.Popen.kill):
        child = subprocess.Popen(["sleep", "100"])
        end(child)
        print(child.wait())
    try:
        subprocess.run(["/no/such"])
    except OSError as error:
        print(error)
    program = "import sys\nfor l in sys.stdin: print(l.strip()[::-1], flush=True)"
    child = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE,
                             stdout=subprocess.PIPE, text=True)
    for word in "abc", "def":
        child.stdin.write(word + "\n")
        child.stdin.flush()
        print(child.stdout.readline().strip())
    child.stdin.close()
    print(child.wait())
    many = [subprocess.Popen(["sh", "-c", f"exit {status}"]) for status in range(8)]
    print([child.wait() for child in many])


def forked():
    private = bytearray(b"private")
    shared = mmap.mmap(-1, 8192)
    reader, writer = os.pipe()
    children = []
    for number in range(4):
        child = os.fork()
        if child == 0:
            private[0] = number
            shared[number] = number + 10
            os.write(writer, b"%d:%d\n" % (number, sum(private)))
            os._exit(number)
        children.append(child)
    os.close(writer)
    private[0] = 77
    print([os.waitpid(child, 0)[1] >> 8 for child in children])
    print(sorted(os.read(reader, 1000).split()), private, list(shared[0:5]))
    child = os.fork()
    if child == 0:
        grandchild = os.fork()
        if grandchild == 0:
            os._exit(9)
        os._exit(os.waitpid(grandchild, 0)[1] >> 8)
    print(os.waitpid(child, 0)[1] >> 8)


def signalled():
    told = []
    signal.signal(signal.SIGCHLD, lambda number, frame: told.append(number))
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGTERM, lambda number, frame: os._exit(21))
        os.kill(os.getppid(), signal.SIGUSR1)
        while True:
            signal.pause()
    while not ready:
        signal.pause()
    os.kill(child, signal.SIGTERM)
    print(os.waitpid(child, 0)[1] >> 8, told)
    child = os.fork()
    if child == 0:
        os.kill(os.getpid(), signal.SIGSEGV)
    print(os.waitpid(child, 0)[1])


def limited():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (20, hard))
    try:
        print(len([os.dup(0) for _ in range(40)]))
    except OSError as error:
        print(error)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def square(number):
    return number * number


if __name__ == "__main__":
    ready = []
    signal.signal(signal.SIGUSR1, lambda number, frame: ready.append(number))
    spawned()
    sys.stdout.flush()
    forked()
    sys.stdout.flush()
    signalled()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    limited()
    sys.stdout.flush()
    with multiprocessing.get_context("fork").Pool(3) as pool:
        print(pool.map(square, range(20)))
