"""What an operator does to a running proxy: edits, mistakes, rotations, restarts, and a disk that is full."""
import dataclasses
import errno
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time

from bench.servers import HOST

from .program import reserve_port
from .scrapers import Scraper, peer_certificate

# A change is noticed within a second; the rest is for a busy machine.
RELOADED = 15
STATE_WRITTEN = 20
HOSTILE = [
    "endless-gzip", "endless-text", "endless-extensions", "endless-head", "endless-trailers", "tiny-chunks", "tiny-members", "trickle", "unasked"]
# The windows in which a change of these settings can be noticed.
WINDOWS = {
    "format": ["format"], "tcp": ["receiver"], "http": ["receiver"], "scrape": ["listener"], "targets": ["targets", "poll"], "hostile": ["poll"],
    "poll_interval": ["poll"], "client_timeout": ["poll"]}


class Operations:
    def __init__(self, run, program, targets, scraping, certificates, disk, own_port, context):
        self.run, self.program, self.targets, self.scraping = run, program, targets, scraping
        self.certificates, self.disk, self.own_port, self.context = certificates, disk, own_port, context
        self.base = program.settings
        self.tcp_ports = [program.settings.tcp, f"{HOST}:{reserve_port()}"]
        self.more_scrape = f"{HOST}:{reserve_port()}"
        self.blocked = socket.socket()
        self.blocked.bind((HOST, reserve_port()))
        self.blocked.listen(1)
        self.certificate = 0
        self.hostile_process, self.hostile_port = None, None
        self.restarts = 0
        self.choices = [
            (6, self.good_edit), (5, self.bad_edit), (1, self.hang_up), (1, self.request_reload), (1, self.quick_rotation),
            (1, self.slow_rotation), (1, self.add_hostile_target)]
        if disk:
            self.choices.append((1, self.full_disk))

    def one(self):
        weights, actions = zip(*self.choices)
        action = self.run.random.choices(actions, weights)[0]
        self.run.count(f"operation {action.__name__}")
        try:
            action()
        except OSError as error:
            self.run.violation("the operator's requests are answered", f"{action.__name__}: {error!r}")

    # MARK: Reloads

    def wait_for(self, what, condition, seconds):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if condition():
                return True
            time.sleep(0.05)
        self.run.violation(what, f"not within {seconds} s")
        return False

    def reload(self, result, act, what):
        """Does something that must cause a reload with this result."""
        before = self.program.reloads()
        act()

        def has_ended():
            return any(count > before[name] for name, count in self.program.reloads().items() if name in (result, "failure"))

        is_done = self.wait_for("a change causes a reload", has_ended, RELOADED)
        after = self.program.reloads()
        if is_done and not after[result] > before[result]:
            reason = self.program.get("/apps?format=json")[1].rsplit(b'"reload":', 1)[-1][:600]
            if "writing" in self.run.windows.open_names() and b"has no keys" in reason:
                # It was read while it was truncated; the whole file follows.
                self.wait_for("a whole file causes a reload", lambda: self.program.reloads()[result] > before[result], RELOADED)
            else:
                self.run.violation(f"this reload is a {result}", f"{what}: {before} became {after}; {reason!r}")
        self.run.count(f"reloads, {result}")

    def apply(self, **changes):
        """A good edit: it takes effect, and `program.settings` is what is in force."""
        new = dataclasses.replace(self.program.settings, **changes)
        changed = [key for key in WINDOWS if getattr(new, key) != getattr(self.program.settings, key)]
        names = {name for key in changed for name in WINDOWS[key]}
        text = new.toml(self.program.next_serial())
        in_place = self.run.random.random() < 0.3
        with self.run.windows.opened(*names, *(["writing"] if in_place else [])):
            self.reload("success", lambda: self.program.write(text, in_place=in_place), str(changes))
            self.program.settings = new
            self.targets.expect(new.targets)

    def good_edit(self):
        now = self.program.settings
        toggle = self.run.random.choice
        optional = self.targets.optional.urls()
        own = f"{HOST}:{self.own_port}"
        changes = toggle([
            lambda: {"format": "capnp" if now.format == "json" else "json"},
            lambda: {"format": "capnp" if now.format == "json" else "json"},
            lambda: {"tcp": self.tcp_ports[0] if now.tcp == self.tcp_ports[1] else self.tcp_ports[1]},
            lambda: {"http": now.http.replace("0.0.0.0", HOST) if "0.0.0.0" in now.http else now.http.replace(HOST, "0.0.0.0")},
            lambda: {"scrape": [a for a in now.scrape if a != self.more_scrape] + ([] if self.more_scrape in now.scrape else [self.more_scrape])},
            # The same port at an overlapping address: it accepts all the time.
            lambda: {"scrape": [f"0.0.0.0:{self.own_port}" if a == own else own if a == f"0.0.0.0:{self.own_port}" else a for a in now.scrape]},
            lambda: {"targets": [url for url in now.targets if url not in optional] + optional[:toggle((0, 1, 2, 3))]},
            lambda: {"poll_interval": toggle(("1s", "1500ms", "2s")), "client_timeout": toggle(("500ms", "800ms"))},
            lambda: {"validate": toggle(("off", "report", "refuse")), "app_label": ""},
            lambda: {"validate": toggle(("report", "refuse")), "app_label": toggle(("", "soak_app"))},
            lambda: {
                "max_message_size": toggle(("1MiB", "2MiB")), "max_connections": toggle((1000, 4096)), "concurrent_requests": toggle((256, 1024)),
                "max_held_size": toggle(("16MiB", "128MiB"))},
            lambda: {
                "response_timeout": toggle(("10s", "20s")), "message_timeout": toggle(("6s", "8s")), "state_interval": toggle(("3s", "5s")),
                "expire_after": toggle((0, 600)), "shutdown_timeout": toggle(("3s", "5s"))},
            # Takes effect with the next start, and is taken back before it: all lives shall take the same.
            lambda: {"worker_threads": 3},
        ])()
        self.apply(**changes)
        if "worker_threads" in changes:
            self.apply(worker_threads=now.worker_threads)

    def bad_edit(self):
        """A file that is refused: what ran before still runs."""
        now = self.program.settings
        toggle = self.run.random.choice
        occupied = f"{HOST}:{self.blocked.getsockname()[1]}"
        good = now.toml(self.program.next_serial())
        bad = toggle([
            lambda: good + "\n[",
            lambda: good.replace("concurrent_requests", "concurent_requests"),
            lambda: good.replace('tls = "optional"', "tls = 5", 1),
            lambda: "",
            lambda: dataclasses.replace(now, scrape=[*now.scrape, occupied]).toml(0),
            lambda: dataclasses.replace(now, tcp=occupied, format="capnp" if now.format == "json" else "json").toml(0),
            lambda: dataclasses.replace(now, targets=[*now.targets[1:], "ftp://nowhere/"]).toml(0),
            lambda: dataclasses.replace(now, state_file="/nowhere/at/all/apps.state").toml(0),
            lambda: dataclasses.replace(now, certificates="/nowhere").toml(0),
            lambda: dataclasses.replace(now, unix="/nowhere/push.sock").toml(0),
            lambda: good[:len(good) // 2] + '"',
        ])()
        with self.run.windows.opened("refused"):
            before = self.program.fingerprint()
            self.reload("failure", lambda: self.program.write(bad, in_place=self.run.random.random() < 0.3), bad[-300:])
            self._check_unchanged(before)
            self.reload("success", lambda: self.program.write(good), "the good file again")

    def _check_unchanged(self, before):
        after = self.program.fingerprint()
        if after != before:
            self.run.violation("a refused reload changes nothing", f"{before} became {after}")
        if self.program.own_metrics()["config_last_reload_successful"] != 0:
            self.run.violation("a refused reload is told", "config_last_reload_successful is not 0")
        # With new connections, so that the listeners have to accept.
        self.scraping.scrape(Scraper(self.run, "after a refused reload", self.own_port))
        self.scraping.scrape(Scraper(self.run, "after a refused reload, TLS", self.program.port, self.context, packed=True, inherited=True))

    def hang_up(self):
        before = self.program.fingerprint()
        self.reload("success", self.program.hang_up, "SIGHUP")
        if self.program.fingerprint() != before:
            self.run.violation("SIGHUP alone changes nothing", f"{before} became {self.program.fingerprint()}")

    def request_reload(self):
        status, answer = self.program.get("/-/reload", "POST")
        if status != 200:
            self.run.violation("POST /-/reload succeeds", f"{status} {answer[:300]!r}")

    # MARK: Certificates

    def _put(self, name):
        source = os.path.join(self.certificates[self.certificate % len(self.certificates)], name)
        place = os.path.join(self.program.settings.certificates, name)
        shutil.copy(source, place + ".new")
        os.replace(place + ".new", place)

    def _check_certificate(self):
        with open(os.path.join(self.certificates[self.certificate % len(self.certificates)], "server.pem")) as file:
            wanted = ssl.PEM_cert_to_DER_cert(file.read())
        for port in (self.program.port, self.own_port):
            if peer_certificate(port, self.context) != wanted:
                self.run.violation("a new certificate is used for new handshakes", f"port {port} shows another one")

    def quick_rotation(self):
        """Key and certificate one right after the other. The file between them may be noticed, and is then refused."""
        self.certificate += 1

        def put():
            self._put("server-key.pem")
            self._put("server.pem")

        with self.run.windows.opened("refused"):
            before = self.program.reloads()["success"]
            put()
            self.wait_for("a rotation takes effect", lambda: self.program.reloads()["success"] > before, RELOADED)
        self._check_certificate()

    def slow_rotation(self):
        """The key comes first, and for a while does not belong to the certificate."""
        self.certificate += 1
        with self.run.windows.opened("refused"):
            before = self.program.fingerprint()
            self.reload("failure", lambda: self._put("server-key.pem"), "a new key alone")
            self._check_unchanged(before)
            self.reload("success", lambda: self._put("server.pem"), "the certificate to it")
        self._check_certificate()

    # MARK: Hostile targets

    def add_hostile_target(self):
        """Targets that send without end, of the suite's attacks, for a while."""
        if not self.hostile_process:
            script = os.path.join(os.path.dirname(sys.modules["measure"].__file__), "targets.py")
            self.hostile_process = subprocess.Popen([sys.executable, "-B", "-u", script], stdout=subprocess.PIPE, stdin=subprocess.DEVNULL)
            self.hostile_port = int(self.hostile_process.stdout.readline())
            self.run.start("requests of hostile targets", self._count_hostile)
        kinds = self.run.random.sample(HOSTILE, 2)
        self.apply(hostile=[f"http://{HOST}:{self.hostile_port}/{kind}" for kind in kinds])
        self.run.is_ended.wait(4)
        self.apply(hostile=[])

    def _count_hostile(self):
        for _ in self.hostile_process.stdout:
            self.run.count("polls of hostile targets")

    # MARK: Disk

    def full_disk(self):
        """The state file cannot be written for a while: everything else goes on."""
        filler = os.path.join(self.disk, "filler")
        since = time.monotonic()
        self.run.mark("full disk")
        try:
            with open(filler, "wb", buffering=0) as file:
                try:
                    while True:
                        file.write(b"x" * 4096)
                except OSError as error:
                    if error.errno != errno.ENOSPC:
                        raise
            self.wait_for(
                "a state file that cannot be written is told", lambda: self.program.own_metrics()["state_last_write_successful"] == 0, STATE_WRITTEN)
            self.run.is_ended.wait(self.run.random.uniform(0, 5))
            if self.run.phase == "restarts" and self.run.random.random() < 0.5:
                self.restart("stop", floor=since - 15)
        finally:
            os.unlink(filler)

        def written():
            return self.program.own_metrics().get("state_last_write_timestamp_seconds", 0)

        before = written()
        self.wait_for("the state file is written again", lambda: written() > before, STATE_WRITTEN)

    # MARK: Restarts

    def restart(self, kind, floor=None):
        """A stop by SIGTERM, or the death by SIGKILL; the successor must have the apps. After a death, and with a full disk, those of `floor`."""
        names = ["restart", "kill"] if kind == "kill" else ["restart"]
        self.restarts += 1
        self.run.mark(kind)
        with self.run.windows.opened(*names):
            self.targets.forget(float("inf"))
            began = time.monotonic()
            if kind == "kill":
                # The longest interval of the settings, and time for the writing.
                floor = began - 5 - 4
                status = self.program.end(signal.SIGKILL)
            else:
                status = self.program.end(signal.SIGTERM)
            stopped = time.monotonic() - began
            if status != (-signal.SIGKILL if kind == "kill" else 0):
                self.run.violation("a stop exits with 0", f"{kind}: {status} after {stopped:.2f} s")
            if stopped > 12:
                self.run.violation("a stop ends within shutdown_timeout", f"{stopped:.2f} s")
            if floor is not None:
                self.run.lost(floor)
            self.targets.forget(time.monotonic())
            took = self.program.start()
        self.run.mark("started", f"stop {stopped:.2f} s, start {took:.2f} s, life {self.run.life}")
        self.run.count(f"restarts, {kind}")
        scraper = Scraper(self.run, "first after a restart", self.program.port, inherited=True)
        self.scraping.scrape(scraper)

    def back_to_base(self):
        """For the quiet time at the end: the configuration of the start."""
        self.apply(**{field.name: getattr(self.base, field.name) for field in dataclasses.fields(self.base)})
        for origin in self.targets.origins:
            origin.set("good")

    def close(self):
        if self.hostile_process:
            self.hostile_process.kill()
            self.hostile_process.wait()
