# SPDX-License-Identifier: MIT
"""What tools/experiment and tools/report share: plans, runs, result files."""
