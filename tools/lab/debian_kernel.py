# SPDX-License-Identifier: MIT
"""Debian's own kernel, the modules that machines made here need, and a static busybox: fetched as
packages and unpacked into a cache, not installed. No root is needed."""
import glob
import lzma
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import zlib

CACHE = os.path.join(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"),
                     "ebb", "nested")
# All that is kept of a kernel's modules, with what these need.
KEPT_MODULES = ("kvm-amd", "virtio-pci", "9pnet-virtio", "9p", "overlay", "virtio-balloon")
# Ends the name of a folder of the cache: what another version of this list kept is of no use.
KEPT = f"+{zlib.crc32(' '.join(KEPT_MODULES).encode()):08x}"


class Missing(Exception):
    """Something that this host lacks; the message says what to do."""


def call(command, **options):
    try:
        return subprocess.run(command, check=True, text=True, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, **options).stdout
    except FileNotFoundError as error:
        raise Missing(f"{command[0]} is missing") from error
    except subprocess.CalledProcessError as error:
        reason = (error.stderr.strip().splitlines() or [f"status {error.returncode}"])[-1]
        raise Missing(f"{shlex.join(command)} failed: {reason}") from error


def fetch_package(package, directory):
    """Downloads the newest version of a package and unpacks it into `directory`."""
    as_root = ["-o", "APT::Sandbox::User=root"] if os.geteuid() == 0 else []
    with tempfile.TemporaryDirectory(prefix="fetch-", dir=CACHE) as place:
        call(["apt-get", *as_root, "download", package], cwd=place)
        [archive] = glob.glob(os.path.join(place, "*.deb"))
        call(["dpkg-deb", "-x", archive, directory])


def kernel_package():
    """The package that Debian's linux-image-amd64 stands for today."""
    for attempt in ("as it is", "updated"):
        found = re.search(r"Depends: (linux-image-\S+)", call(["apt-cache", "depends",
                                                               "linux-image-amd64"])
                          if shutil.which("apt-cache") else "")
        if found:
            return found[1]
        if attempt == "as it is" and os.geteuid() == 0 and shutil.which("apt-get"):
            call(["apt-get", "update", "-qq"])  # a bare image has no package lists
        else:
            break
    raise Missing("no package linux-image-amd64 to be had; run 'sudo apt-get update', or give "
                  "--kernel and --modules")


def cached(name, make):
    """The folder `name` of the cache, made by make(folder) if it is not there yet."""
    folder = os.path.join(CACHE, name)
    if not os.path.isdir(folder):
        os.makedirs(CACHE, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="new-", dir=CACHE) as place:
            made = os.path.join(place, name)
            os.mkdir(made)
            make(made)
            try:
                os.rename(made, folder)  # complete or not there at all
            except OSError:
                if not os.path.isdir(folder):  # nobody else was faster
                    raise
    return folder


def read_module(path):
    with (lzma.open if path.endswith(".xz") else open)(path, "rb") as file:
        return file.read()


def add_module(folder, name, done):
    if name in done:
        return
    found = [path for path in glob.glob(os.path.join(folder, "**", "*.ko*"), recursive=True)
             if os.path.basename(path).split(".")[0].replace("_", "-") == name.replace("_", "-")]
    if not found:
        raise Missing(f"no module {name} below {folder}")
    content = read_module(found[0])
    # The .modinfo section: NUL-terminated "key=value" strings.
    depends = re.search(rb"\0depends=([^\0]*)\0", content)
    for dependency in filter(None, (depends[1].decode() if depends else "").split(",")):
        add_module(folder, dependency, done)
    done[name] = content


def modules_in_order(folder, names):
    """{name: content} of kernel modules and what they depend on, dependencies first."""
    done = {}
    for name in names:
        add_module(folder, name, done)
    return done


def fetch_kernel():
    """Folder with vmlinuz and KEPT_MODULES, newest cached one or fetched now."""
    def keep_what_is_needed(folder):
        with tempfile.TemporaryDirectory(prefix="unpack-", dir=CACHE) as place:
            fetch_package(package, place)
            [image] = glob.glob(os.path.join(place, "boot", "vmlinuz-*"))
            shutil.copy(image, os.path.join(folder, "vmlinuz"))
            modules = modules_in_order(os.path.join(place, "lib"), KEPT_MODULES)
            for name, content in modules.items():
                with open(os.path.join(folder, name + ".ko"), "wb") as file:
                    file.write(content)

    have = sorted(glob.glob(os.path.join(CACHE, "linux-image-*" + KEPT)), key=os.path.getmtime)
    if have:
        return have[-1]
    package = kernel_package()
    print(f"fetching {package} (70 MB) into {CACHE}", file=sys.stderr, flush=True)
    return cached(package + KEPT, keep_what_is_needed)


def is_static(path):
    try:
        with open(path, "rb") as file:
            head = file.read(4096)
        return head.startswith(b"\x7fELF") and b"/ld-linux" not in head
    except OSError:
        return False


def find_busybox():
    installed = shutil.which("busybox", path="/bin:/usr/bin")
    if installed and is_static(installed):
        return installed
    folder = cached("busybox-static", lambda place: fetch_package("busybox-static", place))
    for path in ("bin/busybox", "usr/bin/busybox"):
        if is_static(os.path.join(folder, path)):
            return os.path.join(folder, path)
    raise Missing(f"no busybox in {folder}")
