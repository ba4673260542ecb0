"""What the kernel says about a process: CPU time, memory, threads."""
import contextlib
import os
import re
import time


def cpu_ns(pid):
    """CPU time of all threads there ever were, user and system, in nanoseconds."""
    # The clock of a process, whichever its number (clock_getcpuclockid(3), CPUCLOCK_SCHED).
    return time.clock_gettime_ns((~pid << 3) | 2)


def memory(pid):
    """Bytes: resident, of it what belongs to this process alone (the rest is pages of files: program, libraries), the proportional share
    where shared pages are divided among those who share them, and the most that was ever resident."""
    with open(f"/proc/{pid}/status") as file:
        fields = dict(re.findall(r"^(\w+):\s+(\d+) kB", file.read(), re.M))
    with open(f"/proc/{pid}/smaps_rollup") as file:
        proportional = re.search(r"^Pss:\s+(\d+) kB", file.read(), re.M).group(1)
    return {
        "resident": int(fields["VmRSS"]) * 1024, "private": int(fields["RssAnon"]) * 1024, "proportional": int(proportional) * 1024,
        "peak": int(fields["VmHWM"]) * 1024}


def family(pid):
    """The process and all its children and theirs."""
    found = [pid]
    for task in os.listdir(f"/proc/{pid}/task"):
        # A thread may have ended since.
        with contextlib.suppress(FileNotFoundError), open(f"/proc/{pid}/task/{task}/children") as file:
            for child in file.read().split():
                found += family(int(child))
    return found
