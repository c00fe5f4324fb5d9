# SPDX-License-Identifier: MIT
"""What goes between files and pipes without the program's memory; how much pipes hold."""
import fcntl
import os
import struct
import sys
import termios


def attempt(name, call, *arguments, **more):
    try:
        print(name, call(*arguments, **more))
    except OSError as error:
        print(name, error.strerror)


def waiting(descriptor):
    return struct.unpack("i", fcntl.ioctl(descriptor, termios.FIONREAD, bytes(4)))[0]


def main():
    text = bytes(range(256)) * 40
    with open("/tmp/from-itself", "wb") as file:
        file.write(text)
    source = os.open("/tmp/from-itself", os.O_RDONLY)
    target = os.open("/tmp/to-itself", os.O_RDWR | os.O_CREAT | os.O_TRUNC)
    attempt("copy", os.copy_file_range, source, target, 5000)
    attempt("copy on", os.copy_file_range, source, target, 100, offset_src=7, offset_dst=9000)
    attempt("where", os.lseek, source, 0, os.SEEK_CUR)
    attempt("copy at the end", os.copy_file_range, source, target, 100, offset_src=len(text))
    attempt("copy into itself", os.copy_file_range, target, target, 100, offset_src=0, offset_dst=50)
    attempt("copy behind itself", os.copy_file_range, target, target, 100, offset_src=0, offset_dst=10000)
    attempt("copy a folder", os.copy_file_range, os.open("/tmp", os.O_RDONLY), target, 100)
    print(os.fstat(target).st_size, sum(os.pread(target, 20000, 0)))
    reader, writer = os.pipe2(os.O_NONBLOCK)
    other_reader, other_writer = os.pipe2(os.O_NONBLOCK)
    attempt("splice", os.splice, source, writer, 3000, offset_src=1)
    attempt("in it", waiting, reader)
    attempt("splice out", os.splice, reader, target, 2000, offset_dst=0)
    attempt("in it", waiting, reader)
    attempt("splice across", os.splice, reader, other_writer, 400)
    attempt("in them", lambda: (waiting(reader), waiting(other_reader)))
    attempt("splice of nothing", os.splice, reader, other_writer, 0)
    attempt("splice without a pipe", os.splice, source, target, 10)
    attempt("splice at an offset", os.splice, reader, target, 10, offset_src=3)
    attempt("splice into itself", os.splice, reader, writer, 10)
    attempt("read it", lambda: sum(os.read(reader, 10000)))
    attempt("splice from an empty one", os.splice, reader, target, 10)
    attempt("fill", lambda: os.write(other_writer, bytes(65136)) > 50000)  # Linux counts pages
    attempt("splice into a full one", os.splice, source, other_writer, 10)
    os.close(writer)
    attempt("splice at the end", os.splice, reader, target, 10)
    os.close(other_reader)
    attempt("splice for nobody", os.splice, source, other_writer, 10)
    print(sum(os.pread(target, 20000, 0)))
    reader, writer = os.pipe()
    attempt("room", fcntl.fcntl, writer, fcntl.F_GETPIPE_SZ)
    attempt("less", fcntl.fcntl, writer, fcntl.F_SETPIPE_SZ, 5000)
    attempt("write", os.write, writer, bytes(8192))
    attempt("too little", fcntl.fcntl, reader, fcntl.F_SETPIPE_SZ, 4096)
    attempt("more", fcntl.fcntl, reader, fcntl.F_SETPIPE_SZ, 1 << 20)
    attempt("room", fcntl.fcntl, writer, fcntl.F_GETPIPE_SZ)
    attempt("of a file", fcntl.fcntl, source, fcntl.F_GETPIPE_SZ)
    attempt("set of a file", fcntl.fcntl, source, fcntl.F_SETPIPE_SZ, 4096)
    attempt("advice", os.posix_fadvise, source, 0, 0, os.POSIX_FADV_WILLNEED)
    attempt("advice of a pipe", os.posix_fadvise, reader, 0, 0, 0)
    attempt("vectors", os.preadv, source, [bytearray(10), bytearray(5)], 3, os.RWF_HIPRI)
    attempt("vectors", os.pwritev, target, [b"ab", b"c"], 3, os.RWF_SYNC)
    sys.stdout.flush()


main()
