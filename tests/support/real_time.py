"""The mark of tests that run in real time, which fail when the machine stalls for a moment.

They measure gaps of some tens of milliseconds. So such a test is run up to three times; a defect
fails it every time.
"""

import pytest

real_time = pytest.mark.flaky(reruns=2)
