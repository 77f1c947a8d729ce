"""What a step has freed, the next one gets without asking the system for pages."""

from __future__ import annotations

import subprocess
import sys

import pytest

PAGES = """
import resource
import torch
from trainer.allocator import keep_freed_memory
assert keep_freed_memory()
def step():
    torch.ones(16, 1024, 1024)
for _ in range(10):  # until the pieces that steps leave behind fit together
    step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5):
    step()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="other systems keep memory in ways of their own")
def test_large_tensors_get_the_memory_that_others_left() -> None:
    done = subprocess.run([sys.executable, "-c", PAGES], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 1000  # five times 64 MB are 80,000 pages
