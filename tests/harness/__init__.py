# SPDX-License-Identifier: MIT
"""What the test runners (tests/run-*) have in common; tests/harness/README.md has the files."""
