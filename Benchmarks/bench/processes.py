"""What the kernel says about a process: CPU time, memory, threads."""
import re
import time


def cpu_ns(pid):
    """CPU time of all threads there ever were, user and system, in nanoseconds."""
    # The clock of a process, whichever its number (clock_getcpuclockid(3), CPUCLOCK_SCHED).
    return time.clock_gettime_ns((~pid << 3) | 2)


def memory(pid):
    """Bytes: resident, and of it what belongs to this process alone; the rest is pages of files (program, libraries)."""
    with open(f"/proc/{pid}/status") as file:
        fields = dict(re.findall(r"^(\w+):\s+(\d+) kB", file.read(), re.M))
    return {"resident": int(fields["VmRSS"]) * 1024, "private": int(fields["RssAnon"]) * 1024}
