# SPDX-License-Identifier: MIT
"""What the test runners (tests/run-*) have in common; tests/harness/README.md has the files. With it come
the modules of tools/ (`from lab import ...`)."""
import os
import sys

sys.path.append(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "tools"))
