#!/usr/bin/env python3
"""Pushes metrics in Cap'n Proto over TCP, plain or in TLS."""

import argparse
import pathlib
import socket
import ssl
import sys

import inbound_metrics

CERTS = pathlib.Path(__file__).resolve().parent.parent / "certs"


def address(text):
    """HOST:PORT in two parts."""
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65535:
        raise argparse.ArgumentTypeError(f"{text} is not HOST:PORT")
    return host.strip("[]"), int(port)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--address", type=address, default="127.0.0.1:6554", metavar="HOST:PORT", help="receiver_tcp_socket in config.toml (%(default)s)")
    parser.add_argument("--tls", action="store_true", help="speak TLS, as a receiver with tls = \"required\" expects")
    parser.add_argument("--ca-file", default=str(CERTS / "ca.pem"), help="authorities to trust (%(default)s)")
    parser.add_argument("--server-name", help="name to verify in the certificate; the address's host without it")
    inbound_metrics.add_arguments(parser, app="foo_bar_app2_metrics", prefix="foo_bar_app2")
    arguments = parser.parse_args()
    host, port = arguments.address
    data = inbound_metrics.messages(arguments)
    tls = None
    if arguments.tls:
        with inbound_metrics.explained(f"cannot read {arguments.ca_file}"):
            tls = ssl.create_default_context(cafile=arguments.ca_file)
    with inbound_metrics.explained(f"cannot push to {host} port {port}"):
        with socket.create_connection((host, port), timeout=10) as connection:
            answer = inbound_metrics.push(connection, data, tls, arguments.server_name or host)
    return inbound_metrics.report(arguments.app, answer)


if __name__ == "__main__":
    sys.exit(main())
