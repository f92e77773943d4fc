import subprocess
import sys

import pytest

# In a process of its own, as it cannot be undone.
_PROGRAM = """
import resource
import numpy as np
from slimzoo import memory
if {keep}:
    memory.keep_freed_memory()
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
np.ones(2**26, np.uint8)
before = faults()
for _ in range(10):
    np.ones(2**26, np.uint8)
print(faults() - before)
"""


def page_faults(keep):
    program = [sys.executable, "-c", _PROGRAM.format(keep=keep)]
    return int(subprocess.run(program, capture_output=True, check=True, text=True).stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="only glibc is asked")
def test_freed_memory_is_used_again():
    if not page_faults(keep=False):
        pytest.skip("memory that was freed is kept here in any case")
    assert page_faults(keep=True) < page_faults(keep=False) / 10
