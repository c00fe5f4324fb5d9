# SPDX-License-Identifier: MIT
"""What calls say of paths that are odd: loops, dots, slashes, names and paths that are too long, links to nowhere."""
import errno
import os
import shutil
import tempfile

LONG = "n" * 255
DEEP = "d" * 200 + "/"


def make():
    for name in os.listdir("."):
        if os.path.isdir(name) and not os.path.islink(name):
            shutil.rmtree(name)
        else:
            os.unlink(name)
    os.makedirs("folder/inner")
    with open("file", "w") as file:
        file.write("text")
    os.symlink("file", "to-file")
    os.symlink("folder", "to-folder")
    os.symlink("nowhere", "to-nowhere")
    os.symlink("loop2", "loop1")
    os.symlink("loop1", "loop2")
    os.symlink("self/self", "self")
    os.symlink("folder/../to-file", "far")
    os.symlink("file/", "file-slash")
    os.symlink("nowhere/", "nowhere-slash")
    os.mkfifo("pipe", 0o600)
    for number in range(1, 43):
        os.symlink(f"chain{number - 1}" if number > 1 else "file", f"chain{number}")


PATHS = ["", ".", "..", "/", "//", "/..", "./", "../", "file", "file/", "file/.", "file/..", "file/x", "./file", "folder", "folder/",
         "folder/.", "folder/..", "folder/inner/../../file", "folder//inner", "to-file", "to-file/", "to-file/x", "to-folder",
         "to-folder/", "to-folder/.", "to-folder/..", "to-folder/inner", "to-nowhere", "to-nowhere/", "to-nowhere/x", "loop1",
         "loop1/", "loop1/x", "self", "far", "far/", "file-slash", "nowhere-slash", "chain40", "chain41", "nowhere", "nowhere/",
         "nowhere/x", "nowhere/..", "pipe/", "pipe/x", LONG, LONG + "n", LONG + "/x", LONG + "n/x", "folder/" + LONG + "n",
         DEEP * 20, DEEP * 21, "./" * 2047 + ".", "./" * 2048, "folder/../" * 400 + "file", "folder/../" * 409 + "file",
         "file/" + "x" * 5000, "x" * 5000]

CALLS = {
    "stat": os.stat, "lstat": os.lstat, "read": lambda p: os.close(os.open(p, os.O_RDONLY | os.O_NONBLOCK)),
    "write": lambda p: os.close(os.open(p, os.O_RDWR | os.O_NONBLOCK)),
    "make": lambda p: os.close(os.open(p, os.O_RDWR | os.O_CREAT | os.O_NONBLOCK)),
    "exclusive": lambda p: os.close(os.open(p, os.O_RDWR | os.O_CREAT | os.O_EXCL)),
    "nofollow": lambda p: os.close(os.open(p, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)),
    "directory": lambda p: os.close(os.open(p, os.O_RDONLY | os.O_DIRECTORY)),
    "path": lambda p: os.close(os.open(p, os.O_PATH)), "path-link": lambda p: os.close(os.open(p, os.O_PATH | os.O_NOFOLLOW)),
    "cut": lambda p: os.truncate(p, 2), "access": lambda p: os.stat(p) and os.access(p, os.R_OK), "readlink": os.readlink,
    "list": lambda p: len(os.listdir(p)) > 5, "mkdir": os.mkdir, "rmdir": os.rmdir, "unlink": os.unlink,
    "mkfifo": os.mkfifo, "symlink": lambda p: os.symlink("file", p), "link-to": lambda p: os.link("file", p),
    "link-of": lambda p: os.link(p, "new"), "rename-to": lambda p: os.rename("file", p),
    "rename-folder-to": lambda p: os.rename("folder", p), "rename-from": lambda p: os.rename(p, "new"),
    "chmod": lambda p: os.chmod(p, 0o700), "utime": lambda p: os.utime(p, (1, 1)), "chdir": lambda p: os.chdir(p),
    "execute": lambda p: os.execv(p, ["x"]), "statvfs": lambda p: os.statvfs(p).f_namemax,
}


# Which are asked of what lies there whatever it is: the root is another file system in a guest.
NOT_OF_THE_ROOT = {"stat", "lstat", "link-of", "rename-to", "rename-folder-to", "rename-from", "chmod", "utime", "rmdir",
                   "unlink"}


def state():
    return sorted(os.listdir(".")), os.path.isdir("folder/inner"), os.path.lexists("file") and os.stat("file").st_size


def main():
    with tempfile.TemporaryDirectory() as above:
        folder = os.path.join(above, "here")
        os.mkdir(folder)
        os.chdir(folder)
        make()
        usual = state()
        for name, call in CALLS.items():
            for path in PATHS:
                if name in NOT_OF_THE_ROOT and path in ("/", "//", "/.."):
                    continue
                try:
                    said = call(path)
                except OSError as error:
                    said = errno.errorcode[error.errno]
                os.chdir(folder)
                shown = path if len(path) < 40 else f"{path[:10]}... of {len(path)}"
                now = state()
                print(name, repr(shown), oct(said.st_mode) if isinstance(said, os.stat_result) else said,
                      *["changed"] * (now != usual))
                if now != usual:
                    make()
        os.chdir("/")


main()
