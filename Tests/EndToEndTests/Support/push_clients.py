"""Pushes with Python's prometheus_client, as its documentation shows it.

usage: push_clients.py URL [CA_FILE USER PASSWORD]
"""
import os, sys
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Summary
from prometheus_client import delete_from_gateway, push_to_gateway, pushadd_to_gateway
from prometheus_client.exposition import basic_auth_handler, default_handler

url = sys.argv[1]
handler = default_handler
if len(sys.argv) > 2:
    # The library has no way to name authorities: these take the place of the system's.
    os.environ["SSL_CERT_FILE"] = sys.argv[2]

    def handler(url, method, timeout, headers, data):
        return basic_auth_handler(url, method, timeout, headers, data, sys.argv[3], sys.argv[4])


registry = CollectorRegistry()
Gauge("job_last_success_unixtime", "Last time the batch job succeeded", registry=registry).set(42)
Counter("job_items", "Items", ["kind"], registry=registry).labels("a \"quoted\"\n").inc(3)
histogram = Histogram("job_seconds", "Seconds", registry=registry)
histogram.observe(0.2)
Summary("job_bytes", "Bytes", registry=registry).observe(7)
push_to_gateway(url, job="batch", registry=registry, grouping_key={"instance": "host/1", "zone": ""}, handler=handler)

registry = CollectorRegistry()
Gauge("job_last_success_unixtime", "Last time the batch job succeeded", registry=registry).set(43)
pushadd_to_gateway(url, job="batch", registry=registry, grouping_key={"instance": "host/1", "zone": ""}, handler=handler)

push_to_gateway(url, job="gone", registry=registry, handler=handler)
delete_from_gateway(url, job="gone", handler=handler)
print("pushed")
