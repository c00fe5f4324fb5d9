# SPDX-License-Identifier: MIT
"""Files below /dev and /proc, as far as they are the same everywhere."""
import os
import stat


def main():
    for name in ("null", "zero", "full", "random", "urandom"):
        path = "/dev/" + name
        with open(path, "r+b", buffering=0) as file:
            try:
                wrote = file.write(b"x")
            except OSError as error:
                wrote = error.strerror
            got = file.read(16)
            print(path, stat.S_ISCHR(os.stat(path).st_mode), wrote, len(got), any(got))
    for name in ("stdin", "stdout", "stderr", "fd"):
        print(name, os.readlink("/dev/" + name))
    print("input", open("/dev/stdin", encoding="utf-8").read())
    with open("/dev/stdout", "w", encoding="utf-8") as file:
        file.write("through a name\n")
    print(os.path.basename(os.readlink("/proc/self/exe")), os.path.samefile("/proc/self/cwd", "."),
          os.readlink("/proc/self/root"))
    with open("/etc/passwd", "rb") as file:
        number = str(file.fileno())
        print(number in os.listdir("/proc/self/fd"), os.readlink("/proc/self/fd/" + number))
        print(open("/proc/self/fd/" + number, "rb").read() == open("/etc/passwd", "rb").read())
    maps = [line.split() for line in open("/proc/self/maps", encoding="ascii")]
    here = id(maps)
    print(any(int(low, 16) <= here < int(high, 16) for low, high in (line[0].split("-") for line in maps)),
          all(len(line[1]) == 4 for line in maps))
    memory = dict(line.split(":") for line in open("/proc/meminfo", encoding="ascii"))
    print({"MemTotal", "MemFree", "MemAvailable", "SwapTotal"} <= set(memory), memory["MemTotal"].split()[1])
    print(open("/proc/self/cmdline", "rb").read().split(b"\0")[0], len(open("/proc/self/stat", encoding="ascii").read().split()))
    print("processor" in open("/proc/cpuinfo", encoding="ascii").read(), open("/proc/sys/kernel/ostype", encoding="ascii").read())
    for path in ("/proc/self/root/etc/passwd", "/proc/self/cwd/none", "/proc/self/fd/999", "/dev/none"):
        try:
            print(path, len(open(path, "rb").read()) > 0)
        except OSError as error:
            print(path, error.strerror)


main()
