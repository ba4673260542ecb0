"""Scrapes and pushes all the time until a file appears, and prints what went wrong: a line `NAME COUNT` for each kind of fault.

usage: load.py STOP_FILE

A scrape makes a new connection each time, or keeps one as Prometheus does. A push counts as applied when the proxy closes its side without
a word. Each scrape that begins later must show its value, and that of the app `nightly`, which was pushed once.
"""

import http.client
import os
import re
import socket
import sys
import threading
import time

SCRAPE = ("127.0.0.1", 6555)
RECEIVER = "/run/exporter-proxy/receiver.sock"
TIMEOUT = 30

counts = {name: 0 for name in ("scrapes", "kept_scrapes", "pushes", "refused", "failed", "missing", "lost")}
faults = []
lock = threading.Lock()
applied = 0


def count(name, fault=None):
    with lock:
        counts[name] += 1
        if fault is not None and len(faults) < 20:
            faults.append(f"# {name}: {fault}")


def look(body, expected):
    if b"nightly_ok 1\n" not in body:
        count("missing", body[:200])
    found = re.search(rb"^load_total (\d+)$", body, re.MULTILINE)
    if expected and (int(found.group(1)) if found else 0) < expected:
        count("lost", f"{found and found.group(1)} after {expected} was applied")


def fault(error):
    refused = isinstance(error, (ConnectionRefusedError, FileNotFoundError))
    count("refused" if refused else "failed", repr(error))


def scrape():
    expected = applied
    connection = http.client.HTTPConnection(*SCRAPE, timeout=TIMEOUT)
    try:
        connection.request("GET", "/metrics", headers={"Connection": "close"})
        answer = connection.getresponse()
        body = answer.read()
        if answer.status != 200:
            count("failed", answer.status)
        else:
            look(body, expected)
    except (OSError, http.client.HTTPException) as error:
        fault(error)
    finally:
        connection.close()
    count("scrapes")


def kept(connections=[]):
    """A kept connection may be closed while it is idle. Prometheus then makes a new one, and so does this; that must succeed."""
    expected = applied
    while True:
        fresh = not connections
        connection = connections.pop() if connections else http.client.HTTPConnection(*SCRAPE, timeout=TIMEOUT)
        try:
            connection.request("GET", "/metrics")
            answer = connection.getresponse()
            body = answer.read()
        except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError) as error:
            connection.close()
            if not fresh:
                continue
            fault(error)
            break
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            fault(error)
            break
        if answer.status != 200:
            count("failed", answer.status)
        else:
            look(body, expected)
        if answer.will_close:
            connection.close()
        else:
            connections.append(connection)
        break
    count("kept_scrapes")


def push():
    global applied
    number = counts["pushes"] + 1
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as peer:
            peer.settimeout(TIMEOUT)
            peer.connect(RECEIVER)
            peer.sendall(b'{"load": "load_total %d"}' % number)
            peer.shutdown(socket.SHUT_WR)
            answer = b""
            while piece := peer.recv(4096):
                answer += piece
            if answer:
                count("failed", answer)
            else:
                applied = number
    except OSError as error:
        fault(error)
    count("pushes")


def repeat(action, pause):
    while not os.path.exists(sys.argv[1]):
        action()
        time.sleep(pause)


threads = [threading.Thread(target=repeat, args=job) for job in ((scrape, 0.005), (kept, 0.01), (push, 0.005))]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
for name, number in counts.items():
    print(name, number)
print("\n".join(faults))
