"""The soak: exporter-proxy under mixed load for any length of time; see docs/performance.md. Run by script/soak."""
import argparse
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time

from bench.servers import HOST

from . import bad_peers, ledger as ledgers, operations as operating, plot, program as programs, pushers, run as running
from . import samples as sampling, scrapers, targets as polled

CERTIFICATES = 4
# All that a run writes into its folder.
FILES = ("events.jsonl", "log", "plot.svg", sampling.NAME, "summary.json", "summary.md", "violations.jsonl")


def main():
    parser = argparse.ArgumentParser(
        prog="script/soak", description="Runs exporter-proxy under mixed load and checks it all the time. Exits with 1 if a check failed.")
    parser.add_argument("--minutes", type=float, default=10, help="the length of the run; default 10")
    parser.add_argument("--program", help="another build of exporter-proxy")
    parser.add_argument(
        "--output", metavar="FOLDER",
        help="where samples, plot, summary, violations and log go, in place of those of an earlier run; default .build/soak")
    parser.add_argument("--seed", type=int, help="for the order of operations; default: another one each time")
    parser.add_argument("--draw", metavar="FOLDER", help="draw the plot of a finished or running soak again, and nothing else")
    parser.add_argument("--root", help=argparse.SUPPRESS)
    a = parser.parse_args()
    if a.draw:
        plot.draw(a.draw)
        return 0
    output = os.path.abspath(a.output or os.path.join(a.root, ".build", "soak"))
    make_output(output)
    # A thread that waits for an answer gets its turn soon: latencies are of the program.
    sys.setswitchinterval(0.001)
    folder = tempfile.mkdtemp(prefix="soak.")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    try:
        soak = Soak(a.root, os.path.abspath(a.program), folder, running.Run(output, a.seed if a.seed is not None else time.time_ns()))
        return soak.go(a.minutes * 60)
    finally:
        subprocess.run(["umount", os.path.join(folder, "state")], capture_output=True)
        shutil.rmtree(folder, ignore_errors=True)


def make_output(folder):
    """Makes the folder of a run. Of an earlier run there it removes what that run wrote, and nothing else."""
    try:
        os.makedirs(folder, exist_ok=True)
        if os.listdir(folder) and not sampling.are_in(folder):
            sys.exit(f"script/soak: error: {folder} is not empty and has no earlier run: name another folder with --output, or empty it")
        for name in FILES:
            if os.path.lexists(os.path.join(folder, name)):
                os.unlink(os.path.join(folder, name))
    except OSError as error:
        sys.exit(f"script/soak: error: the folder of the run: {error}")


def make_certificates(root, folder):
    """Several pairs of one authority, made as those for development. The first is in use."""
    make = os.path.join(root, "certs", "make")
    base = os.path.join(folder, "certs")
    made = []
    for index in range(CERTIFICATES):
        for name in ("server.pem", "server-key.pem") if index else ():
            os.unlink(os.path.join(base, name))
        subprocess.run([make, "--into", base], check=True, stdout=subprocess.DEVNULL)
        made.append(os.path.join(folder, f"certs-{index}"))
        shutil.copytree(base, made[-1])
    # The last pair was made in place, so it is the first in use.
    return base, [made[-1], *made[:-1]]


def small_disk(folder):
    """A disk that can be full, in the mount namespace that script/soak made. `None` where the system does not allow that."""
    path = os.path.join(folder, "state")
    os.makedirs(path)
    if not os.environ.get("SOAK_PRIVATE_MOUNTS"):
        return path, None
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "soak", path], capture_output=True)
    return path, path if mounted.returncode == 0 else None


class Soak:
    def __init__(self, root, path, folder, run):
        self.run = run
        certificates, pairs = make_certificates(root, folder)
        state, disk = small_disk(folder)
        if not disk:
            print("the disk is never full: that needs a private mount namespace (unshare -m, as root)", flush=True)
        client = ssl.create_default_context(cafile=os.path.join(certificates, "ca.pem"))
        server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        server.load_cert_chain(os.path.join(pairs[0], "server.pem"), os.path.join(pairs[0], "server-key.pem"))
        port = programs.reserve_port
        inherited = socket.socket()
        inherited.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        inherited.bind((HOST, port()))
        inherited.listen(1024)
        own_port = port()
        self.targets = polled.Targets(run, port, server)
        urls = [url for origin in (*self.targets.steady, *self.targets.failing) for url in origin.urls()]
        settings = programs.Settings(
            scrape=[f"{HOST}:{inherited.getsockname()[1]}", f"{HOST}:{own_port}"], unix=os.path.join(folder, "push.sock"), tcp=f"{HOST}:{port()}",
            http=f"{HOST}:{port()}", certificates=certificates, state_file=os.path.join(state, "apps.state"), targets=urls)
        self.targets.expect(urls)
        self.program = programs.Program(run, path, folder, settings, inherited)
        self.ledger = ledgers.Ledger(run)
        self.scraping = scrapers.Scraping(run, self.program, self.ledger, self.targets, own_port, client)
        self.pushers = pushers.Pushers(run, self.program, self.ledger, client)
        self.bad_peers = bad_peers.BadPeers(run, self.program, own_port, client)
        self.operations = operating.Operations(run, self.program, self.targets, self.scraping, pairs, disk, own_port, client)
        self.samples = sampling.Samples(run, self.program, self.scraping, self.targets, self.operations)

    def go(self, seconds):
        try:
            self.program.start()
            self.run.mark("started")
            for part in (self.pushers, self.scraping, self.bad_peers, self.samples):
                part.start()
            self.targets.break_and_mend()
            self.phases(seconds)
            return self.end()
        finally:
            self.run.is_ended.set()
            self.operations.close()
            if self.program.process and self.program.process.poll() is None:
                self.program.process.kill()

    def phases(self, seconds):
        """Quiet, load in one long life, restarts, load in another long life, quiet."""
        before, after = min(max(seconds * 0.03, 20), 90), min(max(seconds * 0.06, 40), 300)
        load = max(seconds - before - after, 30)
        self.phase("before")
        self.run.is_ended.wait(before)
        self.phase("load")
        self.operate(load * 0.4)
        self.phase("restarts")
        number = min(max(int(load / 60), 4), 10)
        for index in range(number):
            self.operate(load * 0.2 / number)
            if not self.run.is_ended.is_set():
                self.operations.restart("kill" if index % 2 else "stop")
        self.phase("load")
        self.operate(load * 0.4)
        if not self.run.is_ended.is_set():
            self.operations.back_to_base()
        self.phase("after")
        self.run.is_ended.wait(after)

    def phase(self, name):
        self.run.phase = name
        self.run.mark("phase", name)
        print(f"{time.strftime('%H:%M:%S', time.gmtime())} {name}", flush=True)

    def operate(self, seconds):
        end = time.monotonic() + seconds
        written = time.monotonic()
        while time.monotonic() < end and not self.run.is_ended.is_set():
            self.run.is_ended.wait(min(self.run.random.uniform(3, 7) * self.run.pace, max(end - time.monotonic(), 0)))
            if time.monotonic() < end and not self.run.is_ended.is_set():
                self.operations.one()
            # So that a run that is cut short has its plot.
            if time.monotonic() > written + 120:
                written = time.monotonic()
                self.report()

    def report(self):
        summary = self.samples.judge()
        sampling.write(self.run, summary)
        plot.draw(self.run.output)
        return summary

    def end(self):
        self.samples.check(self.samples.judge())
        self.run.is_ended.set()
        if self.program.process.poll() is None:
            status = self.program.end(signal.SIGTERM)
            if status != 0:
                self.run.violation("a stop exits with 0", f"{status} at the end")
        for thread in threading.enumerate():
            if thread is not threading.current_thread() and not thread.daemon:
                thread.join(5)
        summary = self.report()
        print(sampling.markdown(summary))
        print(f"samples.csv, plot.svg, summary.md, violations.jsonl and log are in {self.run.output}")
        return 1 if summary["violations"] else 0


if __name__ == "__main__":
    sys.exit(main())
