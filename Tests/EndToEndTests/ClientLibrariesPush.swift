import Foundation
import TestSupport
import Testing

/// `openesame`, at bcrypt's lowest cost.
private let users = """
    [receiver.basic_auth_users]
    prom = "$2y$04$abcdefghijklmnopqrstuuulwc451dv4LP4yGjbsf9WerSYc6su2O"

    """

@Test("Python's prometheus_client pushes, adds and deletes, also with TLS and a password", arguments: [false, true])
func pythonPushes(secured: Bool) async throws {
    let tls =
        "tls = \"required\"\n[receiver.tls_server_config]\ncert_file = \"certs/server.pem\"\nkey_file = \"certs/server-key.pem\"\n\(users)"
    let config = Configurations.scrape + Configurations.httpReceiver(secured ? tls : "")
    try await withProxy(config, certificates: true) { proxy in
        let port = proxy.pushes.split(separator: ":").last ?? ""
        let script = "\(checkout)/Tests/EndToEndTests/Support/push_clients.py"
        let arguments = secured ? ["https://localhost:\(port)", proxy.caFile, "prom", "openesame"] : ["http://\(proxy.pushes)"]
        let pushed = try await run(Tools.testsPython, [script] + arguments)
        #expect(pushed.output == "pushed\n", "\(pushed.errors)")
        let text = try await curl("http://\(proxy.scrape)/metrics?app=job/batch/instance/host%252F1/zone/").body
        let group = "instance=\"host/1\",job=\"batch\""
        for line in [
            "job_last_success_unixtime{\(group),zone=\"\"} 43", "job_items_total{\(group),kind=\"a \\\"quoted\\\"\\n\",zone=\"\"} 3",
            "job_seconds_bucket{\(group),zone=\"\",le=\"0.25\"} 1", "job_seconds_count{\(group),zone=\"\"} 1",
            "job_bytes_sum{\(group),zone=\"\"} 7",
        ] { #expect(text.contains("\n\(line)\n"), "\(line) in:\n\(text)") }
        #expect(try await curl("http://\(proxy.scrape)/apps/job/gone").status == 404)
        #expect(try await curl("http://\(proxy.scrape)/apps").body.contains("| job/batch/instance/host%2F1/zone/ "))
    }
}

/// Debian's sources of the library, where its compiler finds them.
private let goPath = "/usr/share/gocode"
private let hasGo =
    FileManager.default.isExecutableFile(atPath: "/usr/bin/go")
    && FileManager.default.fileExists(atPath: "\(goPath)/src/github.com/prometheus/client_golang/prometheus/push")

@Test(
    "Go's client_golang pushes protobuf, adds and deletes",
    .enabled(if: hasGo, "needs golang-go and golang-github-prometheus-client-golang-dev"))
func goPushes() async throws {
    let program = """
        package main

        import (
            "os"

            "github.com/prometheus/client_golang/prometheus"
            "github.com/prometheus/client_golang/prometheus/push"
        )

        func must(err error) {
            if err != nil {
                println(err.Error())
                os.Exit(1)
            }
        }

        func main() {
            completion := prometheus.NewGauge(prometheus.GaugeOpts{Name: "db_backup_last_completion_timestamp_seconds", Help: "When."})
            completion.SetToCurrentTime()
            seconds := prometheus.NewHistogram(prometheus.HistogramOpts{Name: "db_backup_seconds", Help: "How long.", Buckets: []float64{1, 2}})
            seconds.Observe(1.5)
            size := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "db_backup_bytes_total", Help: "Size."}, []string{"table"})
            size.WithLabelValues("a").Add(1 << 60)
            url := os.Args[1]
            must(push.New(url, "db_backup").Collector(completion).Collector(seconds).Grouping("db", "customers/1").Push())
            must(push.New(url, "db_backup").Collector(size).Grouping("db", "customers/1").BasicAuth("prom", "openesame").Add())
            must(push.New(url, "gone").Collector(size).Push())
            must(push.New(url, "gone").Delete())
        }
        """
    try await withProxy(Configurations.scrape + Configurations.httpReceiver()) { proxy in
        try proxy.folder.write("main.go", program)
        let environment = [
            "GOPATH": goPath, "GO111MODULE": "off", "GOCACHE": proxy.folder.path("cache"), "GOFLAGS": "", "HOME": proxy.folder.path,
        ]
        let pushed = try await run(
            "/usr/bin/go", ["run", "main.go", "http://\(proxy.pushes)"], environment: environment, workingFolder: proxy.folder.path,
            within: .seconds(300))
        #expect(pushed.succeeded, "\(pushed.errors)")
        let text = try await curl("http://\(proxy.scrape)/metrics?app=job/db_backup/db/customers%252F1").body
        let group = "db=\"customers/1\",instance=\"\",job=\"db_backup\""
        for line in [
            "db_backup_seconds_bucket{\(group),le=\"1\"} 0", "db_backup_seconds_bucket{\(group),le=\"2\"} 1",
            "db_backup_seconds_bucket{\(group),le=\"+Inf\"} 1", "db_backup_bytes_total{\(group),table=\"a\"} 1.152921504606847e+18",
            "# HELP db_backup_bytes_total Size.",
        ] { #expect(text.contains("\(line)\n"), "\(line) in:\n\(text)") }
        #expect(try await curl("http://\(proxy.scrape)/apps/job/gone").status == 404)
        let counted = try await curl("http://\(proxy.scrape)/metrics/self").body
        #expect(counted.contains("received_messages_total{listener=\"\(proxy.pushes)\",format=\"protobuf\"} 3\n"))
    }
}

@Test("the same random requests leave the same series in a Pushgateway", arguments: [1, 2, 3])
func twins(seed: Int) async throws {
    let port = try reservePort()
    // Debian's own default keeps its groups in /var/lib.
    try await withProgram(Tools.pushgateway, ["--web.listen-address=127.0.0.1:\(port)", "--persistence.file="]) { gateway in
        try await wait(for: "the Pushgateway") { try await runCurl(["http://127.0.0.1:\(port)/-/ready"]).succeeded }
        try await withProxy(Configurations.scrape + "self_metrics = false\n" + Configurations.httpReceiver()) { proxy in
            let script = "\(checkout)/Tests/EndToEndTests/Support/pushgateway_twins.py"
            let compared = try await run(
                Tools.python, [script, "\(seed)", "200", "127.0.0.1:\(port)", proxy.pushes, proxy.scrape], within: .seconds(300))
            #expect(compared.succeeded && compared.output.hasPrefix("same "), "\(compared.output)\(compared.errors)")
        }
        #expect(gateway.exitStatus == nil)
    }
}
