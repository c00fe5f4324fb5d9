# SPDX-License-Identifier: MIT
"""Where the tools find what belongs to them: in a checkout that was built, or installed
(tools/install/install-tree). Paths are relative to ROOT, so that they mean the same on another
machine with the same tree."""
import os
import re

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
IS_INSTALLED = not os.path.exists(os.path.join(ROOT, "Makefile"))

VMM = "vmm" if IS_INSTALLED else "build/vmm"
IMAGE = "guest.bin" if IS_INSTALLED else "build/guest.bin"
TRACES = "share/traces" if IS_INSTALLED else "tests/traces"
# What to type to start a guest of ours.
COMMAND = "vmm" if IS_INSTALLED else "build/vmm build/guest.bin"

# What has a name of its own in PATH when it is installed: ebb- and that of the script, unless that
# begins so.
INSTALLED_TOOLS = ("check-kvm", "cut-page-trace", "ebbctl", "experiment", "program-footprint",
                   "record-pages", "report")


def told(text):
    """A text that names tools and files of the checkout, with their names where they are now."""
    if not IS_INSTALLED:
        return text
    share = os.path.realpath(os.path.join(ROOT, "share"))
    text = text.replace("tools/README.md", os.path.join(share, "tools.md"))
    text = text.replace("tools/experiments/", os.path.join(share, "experiments", ""))
    text = text.replace("tools/ebbctl", "ebbctl")
    return re.sub(rf"\btools/({'|'.join(INSTALLED_TOOLS)})\b", r"ebb-\1", text)


def results_file(name):
    """Where results go that nobody gave a place: below build/, or here."""
    if IS_INSTALLED:
        return f"{name}.jsonl"
    path = os.path.join(ROOT, "build", "results", f"{name}.jsonl")
    os.makedirs(os.path.dirname(path), exist_ok=True)
    return path
