"""The benchmark: see Benchmarks/README.md. Run by script/bench."""
import argparse
import os

from . import bench as benching, checks, curves, guard, host, hostreport, others, plot, pushes, report, scrapes, servers


def main():
    parser = argparse.ArgumentParser(prog="script/bench", description="Measures exporter-proxy beside its peers: server's CPU per request.")
    parser.add_argument("--quick", action="store_true", help="about six minutes: fewer workloads, rounds and seconds")
    parser.add_argument("--rounds", type=int, help="default 5, with --quick 3")
    parser.add_argument("--seconds", type=float, help="of each measurement; default 1, with --quick 0.25")
    parser.add_argument("--threads", type=int, default=1, help="event loops and nginx's workers; default 1 each")
    parser.add_argument("--speed", type=int, default=5, help="how many times faster than a real host the workload `host` runs; default 5")
    parser.add_argument("--only", action="append", metavar="PATTERN", help="workloads whose name matches; may be repeated")
    parser.add_argument("--program", help="another build of exporter-proxy")
    parser.add_argument("--json", metavar="FILE", help="write all results there")
    parser.add_argument("--markdown", metavar="FILE", help="write the tables there")
    parser.add_argument("--profile", metavar="FOLDER", help="with --guard: keep callgrind's files there")
    parser.add_argument("--plot", metavar="FILE.svg", help="draw the ratios and the curves there")
    parser.add_argument("--docs", action="store_true", help="measure a host's load alone, and write its tables and its plot into README.md and docs/")
    parser.add_argument("--guard", action="store_true", help="count instructions instead, and fail when a limit is passed")
    parser.add_argument("--root", help=argparse.SUPPRESS)
    a = parser.parse_args()
    bench = benching.Bench(
        a.root, a.program, a.rounds or (3 if a.quick else 5), a.seconds or (0.25 if a.quick else 1), a.threads,
        ["^host/"] if a.docs else a.only)
    try:
        if a.guard:
            raise SystemExit(guard.run(bench, a.root, a.profile))
        measure(bench, a.quick, a.speed)
    finally:
        bench.close()
    settings = {"rounds": bench.rounds, "seconds": bench.seconds, "threads": bench.threads}
    if a.json:
        report.write_json(a.json, bench.results, settings)
    if a.markdown:
        with open(a.markdown, "w") as file:
            file.write(report.markdown(bench.results))
    if a.docs:
        hostreport.write(a.root, bench.results)
    if a.plot:
        with open(a.plot, "w") as file:
            file.write(plot.svg(bench.results))


def measure(bench, quick, speed):
    if None in (bench.nginx, bench.pushgateway, bench.exporter_exporter):
        raise SystemExit("nginx, prometheus-pushgateway and prometheus-exporter-exporter are needed: script/setup --bench")
    host.run(bench, speed, quick)
    nginx = bench.start(servers.Nginx(bench, origins=200))
    scrapes.run(bench, nginx, quick)
    pushes.run(bench)
    pushes.run_http(bench)
    checks.run(bench)
    others.run(bench, nginx, quick)
    curves.run(bench, quick)


if __name__ == "__main__":
    main()
