"""Stands in for systemd: passes listening sockets to the program named in argv, takes its notifications, and replaces it while clients connect."""
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time

PROGRAM, FOLDER = sys.argv[1], sys.argv[2]
os.chdir(FOLDER)


def listening(family, address, v6only=None):
    made = socket.socket(family, socket.SOCK_STREAM)
    if v6only is not None:
        made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, v6only)
    made.bind(address)
    made.listen(128)
    return made


os.makedirs("run", exist_ok=True)
os.symlink("run", "var")
SCRAPE = listening(socket.AF_INET6, ("::", 0), 0)
TCP = listening(socket.AF_INET, ("127.0.0.1", 0))
HTTP = listening(socket.AF_INET, ("127.0.0.1", 0))
UNIX = listening(socket.AF_UNIX, FOLDER + "/run/r.sock")
OTHER = listening(socket.AF_INET, ("127.0.0.1", 0))
PASSED = [SCRAPE, TCP, HTTP, UNIX, OTHER]
PORT = {name: made.getsockname()[1] for name, made in [("scrape", SCRAPE), ("tcp", TCP), ("http", HTTP), ("other", OTHER)]}
NOTIFY = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
NOTIFY.bind("notify")
NOTIFY.settimeout(60)


def config(scrape):
    text = f"""[exporter]
worker_threads = 1
scrape_expose_endpoint = "{scrape}"
shutdown_timeout = "60s"
[receiver]
receive_on_tcp_socket = true
receiver_tcp_socket = "127.0.0.1:{PORT['tcp']}"
receive_on_http_socket = true
receiver_http_socket = "127.0.0.1:{PORT['http']}"
receive_on_unix_socket = true
receiver_unix_socket = "var/r.sock"
state_file = "apps.state"
"""
    with open("config.toml.new", "w") as file:
        file.write(text)
    os.rename("config.toml.new", "config.toml")


def start():
    # The shell becomes the program: only then is its process id known to it.
    script = f'export LISTEN_PID=$$; exec "{PROGRAM}" --config config.toml'
    environment = dict(os.environ, LISTEN_FDS=str(len(PASSED)), LISTEN_FDNAMES="exporter-proxy.socket:tcp:http:unix:other",
                       NOTIFY_SOCKET=FOLDER + "/notify", WATCHDOG_USEC="200000")

    def arrange():
        for index, made in enumerate(PASSED):
            os.dup2(made.fileno(), 100 + index)
        for index in range(len(PASSED)):
            os.dup2(100 + index, 3 + index)

    return subprocess.Popen(["sh", "-c", script], preexec_fn=arrange, close_fds=False, env=environment, stderr=open("log", "a"))


def message(begin):
    """The next notification that begins so; others are passed over."""
    while True:
        text = NOTIFY.recv(4096).decode()
        if text.startswith(begin):
            return text


def ask(connection, request):
    connection.settimeout(60)
    connection.sendall(request)
    answer = b""
    while True:
        piece = connection.recv(65536)
        if not piece:
            return answer
        answer += piece


def get(path, port=None, host="127.0.0.1"):
    connection = socket.create_connection((host, port or PORT["scrape"]))
    return ask(connection, f"GET {path} HTTP/1.0\r\n\r\n".encode())


def push(connection, text):
    connection.settimeout(60)
    connection.sendall(text)
    connection.shutdown(socket.SHUT_WR)
    return connection.recv(4096)


def unix():
    connection = socket.socket(socket.AF_UNIX)
    connection.connect("run/r.sock")
    return connection


def log():
    with open("log") as file:
        return file.read()


def wait_for(condition):
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, "waited in vain; the log:\n" + log()
        time.sleep(0.02)


config(f"0.0.0.0:{PORT['scrape']}")
program = start()
assert re.fullmatch(r"READY=1\nSTATUS=0 apps, 0 targets.*", message("READY=1")), "the status"
assert message("WATCHDOG=1") == "WATCHDOG=1"

# Every socket is used, on both stacks; the one that fits nothing is closed.
assert push(socket.create_connection(("127.0.0.1", PORT["tcp"])), b'{"a": "x 1"}') == b""
assert push(unix(), b'{"b": "x 1"}') == b""
assert ask(socket.create_connection(("127.0.0.1", PORT["http"])), b"PUT /apps/c HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nConnection: close\r\n\r\nx 1\n").startswith(b"HTTP/1.1 204")
assert b"x 1\nx 1\nx 1\n" in get("/metrics")
assert b"healthy" in get("/-/healthy", host="::1")
assert "no configured address uses it" in log() and f"listener=127.0.0.1:{PORT['other']} unit=other" in log(), log()

# A connection that has not sent its request is in flight at a stop, and what comes meanwhile waits for the next program.
early = socket.create_connection(("127.0.0.1", PORT["scrape"]))
time.sleep(0.2)
program.send_signal(signal.SIGTERM)
message("STOPPING=1")
wait_for(lambda: "stopping" in log())
time.sleep(0.2)
waiting = [socket.create_connection(("127.0.0.1", PORT["tcp"])) for _ in range(20)]
for index, connection in enumerate(waiting):
    connection.sendall(f'{{"w{index}": "x 1"}}'.encode())
    connection.shutdown(socket.SHUT_WR)
late = []
thread = threading.Thread(target=lambda: late.append(get("/metrics?app=a")))
thread.start()
time.sleep(1.5)
assert program.poll() is None, "the early connection is waited for"
assert b"200 OK" in ask(early, b"GET /metrics?app=a HTTP/1.0\r\n\r\n")
assert program.wait(60) == 0
assert os.path.exists("run/r.sock"), "the socket's file is not the program's"
program = start()
message("READY=1")
for connection in waiting:
    connection.settimeout(60)
    assert connection.recv(100) == b""
thread.join(60)
assert b"200 OK" in late[0], late
assert get("/apps?format=json").count(b'"state": "ok"') == 23

# A reload moves the address away: the socket waits for a return. An address that overlaps it is refused.
config("127.0.0.1:0")
assert message("RELOADING=1").split("\n")[1].startswith("MONOTONIC_USEC=")
message("READY=1")
kept = socket.create_connection(("127.0.0.1", PORT["scrape"]))
config(f"127.0.0.1:{PORT['scrape']}")
assert "failed" in message("READY=1")
wait_for(lambda: "a socket of systemd's unit exporter-proxy.socket" in log())
# So is that of a socket which was closed at the start: systemd still holds it.
config(f"127.0.0.1:{PORT['other']}")
assert "failed" in message("READY=1")
wait_for(lambda: f"cannot listen on 127.0.0.1:{PORT['other']}: systemd's unit other holds it" in log())
program.send_signal(signal.SIGHUP)
message("RELOADING=1")
message("READY=1")
config(f"0.0.0.0:{PORT['scrape']}")
assert "succeeded" in message("READY=1")
assert b"200 OK" in ask(kept, b"GET /-/healthy HTTP/1.0\r\n\r\n")

# A program whose event loop is stuck, here the whole program, sends no WATCHDOG=1; a service manager that is gone does no harm.
program.send_signal(signal.SIGSTOP)
time.sleep(0.3)
NOTIFY.setblocking(False)
try:
    while True:
        NOTIFY.recv(4096)
except BlockingIOError:
    pass
NOTIFY.settimeout(0.5)
try:
    assert not NOTIFY.recv(4096), "a stopped program sent WATCHDOG=1"
except socket.timeout:
    pass
NOTIFY.settimeout(60)
program.send_signal(signal.SIGCONT)
message("WATCHDOG=1")
NOTIFY.close()
os.remove("notify")
assert b"200 OK" in get("/-/healthy")
program.send_signal(signal.SIGTERM)
assert program.wait(60) == 0
print("all is well")
