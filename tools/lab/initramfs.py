# SPDX-License-Identifier: MIT
"""The initial file system of a machine that is made for one run."""
import os
import stat


class Archive:
    """A cpio archive in the "newc" format, Documentation/driver-api/early-userspace of Linux."""

    def __init__(self, file):
        self.file = file
        self.known = set()

    def add(self, path, mode, content=b"", device=(0, 0)):
        path = path.strip("/")
        if path in self.known:
            return
        if os.path.dirname(path):
            self.add(os.path.dirname(path), stat.S_IFDIR | 0o755)
        self.known.add(path)
        name = path.encode() + b"\0"
        fields = (len(self.known), mode, 0, 0, 1, 0, len(content), 0, 0, *device, len(name), 0)
        head = b"070701" + "".join(f"{field:08x}" for field in fields).encode() + name
        self.file.write(head + bytes(-len(head) % 4) + content + bytes(-len(content) % 4))

    def add_file(self, path, target=None):
        with open(path, "rb") as file:
            executable = 0o111 if os.access(path, os.X_OK) else 0
            self.add(target or path, stat.S_IFREG | 0o644 | executable, file.read())

    def add_tree(self, path):
        if not os.path.isdir(path):
            self.add_file(path)
            return
        self.add(path, stat.S_IFDIR | 0o755)
        for entry in sorted(os.listdir(path)):
            self.add_tree(os.path.join(path, entry))

    def end(self):
        self.add("TRAILER!!!", 0)
