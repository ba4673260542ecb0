"""What the kernel says about a process: CPU time, memory, threads."""
import os
import re


def cpu_ns(pid):
    """CPU time of all threads, user and system, in nanoseconds."""
    total = 0
    for task in os.listdir(f"/proc/{pid}/task"):
        try:
            with open(f"/proc/{pid}/task/{task}/schedstat") as file:
                total += int(file.read().split()[0])
        except FileNotFoundError:  # A thread that has just ended.
            pass
    if total:
        return total
    # A kernel without schedstat: ticks of 10 ms.
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rsplit(") ", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) * 1_000_000_000 // os.sysconf("SC_CLK_TCK")


def memory(pid):
    """Bytes: resident, and of it what belongs to this process alone; the rest is pages of files (program, libraries)."""
    with open(f"/proc/{pid}/status") as file:
        fields = dict(re.findall(r"^(\w+):\s+(\d+) kB", file.read(), re.M))
    return {"resident": int(fields["VmRSS"]) * 1024, "private": int(fields["RssAnon"]) * 1024}
