"""Peak memory of a process, for benchmarks and their peers."""

import resource
from pathlib import Path


def peak_mb() -> int:
    """Return the MB that this process has held at most since its program began.

    Linux keeps ``ru_maxrss`` through fork and exec, so that a child of a large process would report
    its parent's peak; VmHWM restarts with each program.
    """
    status = Path("/proc/self/status")
    if status.exists():
        lines = dict(line.split(":", 1) for line in status.read_text().splitlines())
        return int(lines["VmHWM"].split()[0]) // 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
