"""Tests that run in real time, where a machine that stalls for a moment can make any of them fail.

They listen for gaps of some tens of milliseconds, or count the seconds that somebody waits. So such
a test is tried again, twice at the most; a defect fails it every time.
"""

import pytest

real_time = pytest.mark.flaky(reruns=2)
