#!/usr/bin/env python3
"""Attacks a running exporter-proxy and measures what that does to it and to others.

    attack.py NAME --pid PID --scrape HOST:PORT [--tcp HOST:PORT] [--http HOST:PORT] [--unix PATH] [KEY=VALUE ...]

Prints one JSON object: what the attack says of itself, memory before, at the peak and after, what a witness noticed, descriptors,
threads, held bytes, and whether a scrape and a push still work. `attack.py --list` names the attacks.
"""

import argparse
import copy
import json
import os
import ssl
import sys
import tempfile
import time

from measure import MIB, Attackers, Process, Sampler, Witness, connect, exchange, held, own_metrics, push
from attacks import Attacks
import http_attacks
import http_push_attacks
import push_attacks
import tls_attacks

ATTACKS = Attacks(http_attacks.ATTACKS | push_attacks.ATTACKS | http_push_attacks.ATTACKS | tls_attacks.ATTACKS)


@ATTACKS.attack("mixed", http_attacks.push_apps, apps=64, size=250_000, hold=4, seconds=40, attacks="")
def mixed(target, parameters, _):
    """Several attacks at once, as `attacks=NAME,NAME`; the other parameters are for all of them."""

    def run(name):
        alone = copy.copy(target)
        alone.attackers = Attackers(is_nested=True)
        ATTACKS[name].run(alone, ATTACKS[name].defaults | parameters, None)
        alone.attackers.wait(parameters["hold"])

    for name in parameters["attacks"].split(","):
        target.attackers.start(run, name)


# What may stay of what was held for attackers, and how long it may take.
MAY_STAY = 32 * MIB
RETURN_TIME = 10


class Target:
    """Where the program listens, and what attacks need to know."""

    def __init__(self, options, process):
        self.scrape, self.tcp, self.unix, self.http = options.scrape, options.tcp, options.unix, options.http
        self.format, self.process = options.format, process
        self.attackers = Attackers()
        self.tls = None
        self.told = tempfile.TemporaryFile("a+", buffering=1)

    def tell(self, **facts):
        """What an attack says of itself from a process of its own."""
        self.told.write(json.dumps(facts) + "\n")

    @property
    def facts(self):
        self.told.seek(0)
        facts = {}
        for line in self.told:
            facts |= json.loads(line)
        return facts

    def open_http(self, timeout):
        """A connection to the HTTP receiver, in TLS if the attack is to use it."""
        connection = connect(self.http, timeout)
        return self.tls.wrap_socket(connection) if self.tls else connection

    @property
    def receiver(self):
        return self.tcp or self.unix


def works(target, headers):
    """Whether a scrape and a push work, now that the attack is over; why not, otherwise."""
    result = {}
    end = time.monotonic() + 20
    # Messages that came before the end may still replace the apps that a scrape reads, and it may be cut for what it holds.
    while result.get("scrape") != "" and time.monotonic() < end:
        try:
            with connect(target.scrape) as connection:
                status, _, _ = exchange(connection, "/metrics", headers=headers)
            result["scrape"] = "" if status == 200 else f"status {status}"
        except OSError as error:
            result["scrape"] = repr(error)
    if target.receiver:
        try:
            message = b'{"after the attack": "a 1"}'
            if target.format == "capnp":
                message = push_attacks.capnp(b"after the attack", b"a 1")
            answer = push(target.receiver, message)
            if not answer and not headers:
                with connect(target.scrape) as connection:
                    status, _, body = exchange(connection, "/metrics?app=after+the+attack")
                answer = "" if (status, body) == (200, b"a 1\n") else f"{status} {body!r}"
            result["push"] = answer
        except OSError as error:
            result["push"] = repr(error)
    return result


def measure(name, target, options, parameters):
    process, attack = target.process, ATTACKS[name]
    if parameters.get("tls"):
        target.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        target.tls.check_hostname, target.tls.verify_mode = False, ssl.CERT_NONE
    headers = f"Authorization: {options.authorization}\r\n" if options.authorization else ""
    authorization = f"Authorization: {options.pushing}\r\n" if options.pushing else ""
    prepared = attack.prepare(target, parameters) if attack.prepare else None
    if target.http:
        with connect(target.http) as connection:
            exchange(connection, "/apps/witness", "PUT", authorization, b"witness 1\n")
    # What an exchange costs while nothing else happens, and memory that the first of its kind takes.
    idle = Witness(process, options.scrape)
    idle.start()
    own_metrics(options.scrape, headers)
    time.sleep(0.5)
    quiet = idle.stop()
    before = {"resident": process.resident, "descriptors": process.descriptors, "threads": process.threads}
    process.forget_peak()
    cpu, loop_cpu = process.cpu, process.loop_cpu
    sampler, witness = Sampler(process), Witness(process, options.scrape)
    # Each has its own pace, so that they meet the attack at different moments.
    pusher = scraper = None
    if target.http:
        pusher = Witness(process, target.http, "/apps/witness", 0.003, authorization, b"witness 1\n")
        scraper = Witness(process, options.scrape, "/metrics?app=witness", 0.003, headers)
    witnesses = [each for each in (witness, pusher, scraper) if each]
    sampler.start()
    for each in witnesses:
        each.start()
    start = time.monotonic()
    said = attack.run(target, parameters, prepared) or {}
    target.attackers.wait(parameters["seconds"])
    seconds = time.monotonic() - start
    noticed, pushed, scraped = [each.stop() if each else None for each in (witness, pusher, scraper)]
    sampler.stop()
    said |= target.facts
    result = {
        "attack": said,
        "seconds": seconds,
        "alive": process.is_alive,
        "idle": quiet,
        "witness": noticed,
        "pusher": pushed,
        "scraper": scraped,
    }
    if not process.is_alive:
        return result
    result["cpu"] = process.cpu - cpu
    result["loop_cpu"] = process.loop_cpu - loop_cpu
    ended = time.monotonic()
    peak = process.peak
    # Only what comes back late costs time here.
    resident, limit = process.resident, before["resident"] + parameters.get("may_stay", MAY_STAY)
    while resident > limit and time.monotonic() - ended < RETURN_TIME:
        time.sleep(0.1)
        resident = process.resident
    returned = time.monotonic() - ended
    while process.descriptors > before["descriptors"] and time.monotonic() - ended < RETURN_TIME:
        time.sleep(0.05)
    result["resident"] = {"before": before["resident"], "peak": peak, "after": resident, "returned": returned}
    result["descriptors"] = {"before": before["descriptors"], "peak": sampler.descriptors, "after": process.descriptors}
    result["threads"] = {"before": before["threads"], "peak": sampler.threads, "after": process.threads}
    result["works"] = works(target, headers)
    if result["works"]["scrape"]:
        return result
    metrics = own_metrics(options.scrape, headers)
    # A thread that decodes for a connection that is gone may still be at it. What polling holds comes and goes.
    while any(value for kind, value in held(metrics).items() if kind != "polling") and time.monotonic() - ended < RETURN_TIME:
        time.sleep(0.05)
        metrics = own_metrics(options.scrape, headers)
    result["held"] = held(metrics)
    result["lag"] = metrics.get("event_loop_lag_seconds")
    result["stored"] = metrics.get("stored_bytes", 0)
    result["rejected"] = {
        key.split('reason="')[1].split('"')[0]: int(value)
        for key, value in metrics.items()
        if key.startswith("rejected_messages_total{") and value
    }
    return result


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("name", nargs="?")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--pid", type=int)
    parser.add_argument("--scrape")
    parser.add_argument("--tcp")
    parser.add_argument("--http")
    parser.add_argument("--unix")
    parser.add_argument("--format", default="json", help="what the receivers take")
    parser.add_argument("--authorization", help="for the witness's scrapes")
    parser.add_argument("--pushing", help="the Authorization of the witness's pushes over HTTP")
    parser.add_argument("parameters", nargs="*")
    options = parser.parse_intermixed_args()
    if options.list or options.name not in ATTACKS:
        for name, attack in sorted(ATTACKS.items()):
            print(f"{name:24} {attack.__doc__}")
        sys.exit(0 if options.list else 64)
    parameters = dict(ATTACKS[options.name].defaults)
    for parameter in options.parameters:
        key, value = parameter.split("=", 1)
        parameters[key] = int(value) if value.isdigit() else value
    target = Target(options, Process(options.pid))
    try:
        result = measure(options.name, target, options, parameters)
    finally:
        target.attackers.wait(0)
    json.dump(result, sys.stdout, indent=1)
    print()


if __name__ == "__main__":
    main()
