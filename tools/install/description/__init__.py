# SPDX-License-Identifier: MIT
"""What --help says, read, and written as manual pages and completion."""
