"""The program under test: its configuration as a value, its process, its log."""
import collections
import dataclasses
import json
import os
import random
import re
import signal
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request

from bench.servers import HOST

# Not of the kernel's own choice for outgoing connections: a client would take a port while the program restarts.
PORTS = range(20000, 30000)


def reserve_port(taken=set()):
    """A port that nothing listens on, and that was not reserved before."""
    while True:
        port = random.choice(PORTS)
        if port in taken:
            continue
        with socket.socket() as s:
            try:
                s.bind(("0.0.0.0", port))
            except OSError:
                continue
        taken.add(port)
        return port


@dataclasses.dataclass
class Settings:
    """What the soak changes in the configuration."""
    scrape: list
    unix: str
    tcp: str
    http: str
    certificates: str
    state_file: str
    targets: list
    format: str = "json"
    validate: str = "report"
    app_label: str = ""
    poll_interval: str = "1s"
    client_timeout: str = "800ms"
    state_interval: str = "5s"
    max_message_size: str = "1MiB"
    max_connections: int = 4096
    concurrent_requests: int = 1024
    max_held_size: str = "128MiB"
    response_timeout: str = "20s"
    shutdown_timeout: str = "5s"
    message_timeout: str = "8s"
    expire_after: int = 0
    worker_threads: int = 2
    hostile: list = dataclasses.field(default_factory=list)
    more: str = ""

    def toml(self, serial):
        def array(values):
            return "[" + ", ".join(json.dumps(value) for value in values) + "]"

        hostile = "".join(f'''
            [[poll_external.targets]]
            url = "{url}"
            name = "hostile {index}"
            body_size_limit = "256KiB"
            expire_after = "1s"
            ''' for index, url in enumerate(self.hostile))
        return f'''# Edit {serial}.
            [exporter]
            worker_threads = {self.worker_threads}
            concurrent_requests = {self.concurrent_requests}
            scrape_expose_endpoint = {array(self.scrape)}
            tls = "optional"
            expire_after = {self.expire_after}
            enable_lifecycle = true
            shutdown_timeout = "{self.shutdown_timeout}"
            max_connections = {self.max_connections}
            max_held_size = "{self.max_held_size}"
            response_timeout = "{self.response_timeout}"
            handshake_timeout = "8s"
            header_timeout = "8s"
            write_timeout = "8s"
            [exporter.tls_server_config]
            cert_file = "{self.certificates}/server.pem"
            key_file = "{self.certificates}/server-key.pem"
            [receiver]
            format = "{self.format}"
            receive_on_unix_socket = true
            receiver_unix_socket = "{self.unix}"
            receive_on_tcp_socket = true
            receiver_tcp_socket = "{self.tcp}"
            receive_on_http_socket = true
            receiver_http_socket = "{self.http}"
            tls = "optional"
            state_file = "{self.state_file}"
            state_interval = "{self.state_interval}"
            max_message_size = "{self.max_message_size}"
            message_timeout = "{self.message_timeout}"
            idle_timeout = "20s"
            [receiver.tls_server_config]
            cert_file = "{self.certificates}/server.pem"
            key_file = "{self.certificates}/server-key.pem"
            [metrics]
            validate = "{self.validate}"
            app_label = "{self.app_label}"
            [poll_external]
            poll_other_scrape_endpoints = true
            other_scrape_endpoints = {array(self.targets)}
            poll_interval = "{self.poll_interval}"
            client_timeout = "{self.client_timeout}"
            body_size_limit = "1MiB"
            expire_after = "30m"
            [poll_external.tls_config]
            ca_file = "{self.certificates}/ca.pem"
            {hostile}
            {self.more}
            '''.replace("\n            ", "\n")


class Program:
    """The process, started again after each restart. Its log is read line by line; an unexpected error in it is a violation."""

    def __init__(self, run, path, folder, settings, inherited):
        self.run, self.path, self.folder, self.settings = run, path, folder, settings
        self.config = os.path.join(folder, "config.toml")
        # The soak's own descriptor of the socket that the program inherits, as systemd would pass it.
        self.inherited = inherited
        self.port = inherited.getsockname()[1]
        self.process = None
        self.serial = 0
        self.log_counts = collections.Counter()
        self.write(settings.toml(0))

    # MARK: Process

    def start(self):
        # Passed sockets begin at descriptor 3. Shells take one digit for a descriptor, so the socket is opened before all else.
        descriptor = self.inherited.fileno()
        move = f"exec 3<&{descriptor} {descriptor}<&-; " if descriptor != 3 else ""
        script = move + 'LISTEN_PID=$$ LISTEN_FDS=1 exec "$@"'
        self.process = subprocess.Popen(
            ["sh", "-c", script, "sh", self.path, "--config", self.config, "--log-format", "json", "--log-level", "info"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, cwd=self.folder, pass_fds=(descriptor,))
        threading.Thread(target=self._read_log, args=(self.process.stderr,), daemon=True).start()
        began = time.monotonic()
        while time.monotonic() < began + 30:
            if self.process.poll() is not None:
                raise SystemExit(f"the program ended at its start with {self.process.returncode}: see {self.run.output}/log")
            try:
                if self.get("/-/ready", timeout=5)[0] == 200:
                    break
            except OSError:
                pass
            time.sleep(0.02)
        else:
            self.run.violation("the program is ready within 30 s", "not ready")
        self.run.life += 1
        return time.monotonic() - began

    @property
    def pid(self):
        return self.process.pid

    def end(self, number, deadline=30):
        """Sends a signal and waits for the end: the exit status."""
        process = self.process
        process.send_signal(number)
        try:
            return process.wait(deadline)
        except subprocess.TimeoutExpired:
            self.run.violation("a stop ends in time", f"still there {deadline} s after signal {number}")
            process.kill()
            return process.wait()

    def hang_up(self):
        self.process.send_signal(signal.SIGHUP)

    # MARK: Log

    def _read_log(self, lines):
        with open(f"{self.run.output}/log", "ab") as kept:
            for line in lines:
                try:
                    entry = json.loads(line)
                    level, message = entry["level"], entry["message"]
                except (ValueError, KeyError):
                    level, message = "none", line.decode(errors="replace")
                    self.run.violation("the log has one JSON object a line", message)
                general = re.sub(r"\d+", "N", re.sub(r'^\S+\.toml:\d+:\d+: ', "", message.replace(self.folder + "/", "")))[:100]
                self.log_counts[level, general] += 1
                # The log of a long run would be gigabytes; repetitions are counted.
                if self.log_counts[level, general] <= 20 or level in ("error", "critical"):
                    kept.write(line)
                    kept.flush()
                # A file that is written in place is empty for a moment.
                if level in ("error", "critical") and not {"refused", "writing"} & set(self.run.windows.open_names()):
                    self.run.violation("the log has no unexpected error", line.decode(errors="replace"))

    # MARK: Requests

    def get(self, path, method="GET", timeout=30):
        """Status and body, of the inherited listener."""
        request = urllib.request.Request(f"http://{HOST}:{self.port}{path}", method=method)
        try:
            with urllib.request.urlopen(request, timeout=timeout) as response:
                return response.status, response.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()
        except urllib.error.URLError as error:
            raise OSError(str(error)) from error

    def own_metrics(self):
        """The proxy's own metrics, by series without the prefix."""
        status, body = self.get("/metrics/self")
        if status != 200:
            raise OSError(f"/metrics/self: status {status}")
        values = {}
        for line in body.decode().splitlines():
            if line.startswith("exporter_proxy_"):
                series, value = line.rsplit(" ", 1)
                values[series.removeprefix("exporter_proxy_")] = float(value)
        return values

    def reloads(self):
        values = self.own_metrics()
        return {result: values[f'config_reloads_total{{result="{result}"}}'] for result in ("success", "failure")}

    def fingerprint(self):
        """What a refused reload must leave as it was."""
        apps = json.loads(self.get("/apps?format=json")[1])
        return {
            "listeners": [[l["name"], l["kind"], l["format"], l["tls"], l["certificate_end"]] for l in apps["listeners"]],
            "polled": sorted(app["name"] for app in apps["apps"] if app["source"].startswith("external_poll")),
            "ready": apps["ready"]}

    # MARK: Configuration

    def write(self, text, in_place=False):
        if in_place:
            with open(self.config, "w") as file:
                file.write(text)
        else:
            with open(self.config + ".new", "w") as file:
                file.write(text)
            os.replace(self.config + ".new", self.config)

    def next_serial(self):
        self.serial += 1
        return self.serial
