#!/usr/bin/env python3
"""Pushes metrics in Cap'n Proto over TCP, plain or in TLS."""

import argparse
import pathlib
import socket
import ssl
import sys

import inbound_metrics

CERTS = pathlib.Path(__file__).resolve().parent.parent / "certs"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--address", default="127.0.0.1:6554", metavar="HOST:PORT", help="receiver_tcp_socket in config.toml (%(default)s)")
    parser.add_argument("--tls", action="store_true", help="speak TLS, as a receiver with tls = \"required\" expects")
    parser.add_argument("--ca-file", default=str(CERTS / "ca.pem"), help="authorities to trust (%(default)s)")
    parser.add_argument("--server-name", help="name to verify in the certificate; the address's host without it")
    inbound_metrics.add_arguments(parser, app="foo_bar_app2_metrics", prefix="foo_bar_app2")
    arguments = parser.parse_args()
    host, _, port = arguments.address.rpartition(":")
    host = host.strip("[]")
    tls = ssl.create_default_context(cafile=arguments.ca_file) if arguments.tls else None
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        answer = inbound_metrics.push(connection, inbound_metrics.messages(arguments), tls, arguments.server_name or host)
    return inbound_metrics.report(arguments.app, answer)


if __name__ == "__main__":
    sys.exit(main())
