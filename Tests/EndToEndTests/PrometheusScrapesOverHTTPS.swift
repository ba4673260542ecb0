import Foundation
import TestSupport
import Testing

@Test("a real Prometheus scrapes over HTTPS: up is 1, and the pushed samples can be queried")
func prometheusScrapesOverHTTPS() async throws {
    try await withProxy(Configurations.scrape(tls: "required") + Configurations.receivers(), certificates: true) { proxy in
        #expect(try await pushOverUnixSocket(client("json_array.json"), to: proxy) == "")
        let config = """
            global:
              scrape_interval: 1s
              scrape_timeout: 1s
            scrape_configs:
              - job_name: all
                scheme: https
                tls_config: {ca_file: \(proxy.caFile)}
                static_configs: [{targets: ["localhost:\(proxy.scrapePort)"]}]
              - job_name: one_app
                scheme: https
                tls_config: {ca_file: \(proxy.caFile)}
                params: {app: [foo_bar_app1_metrics]}
                static_configs: [{targets: ["localhost:\(proxy.scrapePort)"]}]
              - job_name: no_such_app
                scheme: https
                tls_config: {ca_file: \(proxy.caFile)}
                params: {app: [nobody]}
                static_configs: [{targets: ["localhost:\(proxy.scrapePort)"]}]

            """
        try await withPrometheus(config, folder: proxy.folder) { prometheus in
            let pushed = #"foo_bar_app1_http_requests_total{code="400",job="all"}"#
            try await wait(for: "the pushed sample") { try await prometheus.query(pushed) == "3" }
            #expect(try await prometheus.query(#"up{job="all"}"#) == "1")
            let alone = #"foo_bar_app1_http_requests_total{code="400",job="one_app"}"#
            try await wait(for: "the sample of one app") { try await prometheus.query(alone) == "3" }
            #expect(try await prometheus.query(#"up{job="one_app"}"#) == "1")
            try await wait(for: "a scrape of an unknown app") { try await prometheus.query(#"up{job="no_such_app"}"#) == "0" }

            #expect(
                try await pushOverUnixSocket(#"{"foo_bar_app1_metrics": "foo_bar_app1_http_requests_total{code=\"400\"} 4"}"#, to: proxy)
                    == "")
            try await wait(for: "the update") {
                try await prometheus.query(#"foo_bar_app1_http_requests_total{code="400",method="",job="all"}"#) == "4"
            }
        }
    }
}

/// A running Prometheus.
private struct Prometheus {
    var address: String

    /// The value of the one series that the expression gives; `nil` when there is none, or Prometheus is not up yet.
    func query(_ expression: String) async throws -> String? {
        let result = try await runCurl(["--get", "--data-urlencode", "query=\(expression)", "http://\(address)/api/v1/query"])
        guard result.succeeded, let answer = try? JSONDecoder().decode(QueryAnswer.self, from: Data(result.outputBytes)) else { return nil }
        return answer.data.result.first?.value.last?.text
    }
}

private struct PrometheusFailed: Error, CustomStringConvertible {
    var description: String
}

/// The part of Prometheus's answer to an instant query that is read here.
private struct QueryAnswer: Decodable {
    struct Contents: Decodable { var result: [Series] }
    struct Series: Decodable { var value: [TimeOrText] }
    struct TimeOrText: Decodable {
        /// `nil` for the time.
        var text: String?
        init(from decoder: any Decoder) throws {
            text = try? decoder.singleValueContainer().decode(String.self)
        }
    }
    var data: Contents
}

/// Runs Prometheus with its data in the folder, on a port that was free a moment ago.
private func withPrometheus(_ config: String, folder: TemporaryFolder, _ body: (Prometheus) async throws -> Void) async throws {
    try folder.write("prometheus.yml", config)
    // Prometheus cannot say which port it got for 0, so one is picked for it.
    let picked = try await run(
        Tools.python, ["-c", "import socket; s = socket.create_server(('127.0.0.1', 0)); print(s.getsockname()[1])"])
    let address = "127.0.0.1:\(picked.output.filter(\.isNumber))"
    let arguments = [
        "--config.file", folder.path("prometheus.yml"), "--storage.tsdb.path", folder.path("data"), "--web.listen-address", address,
    ]
    try await withProgram(Tools.prometheus, arguments) { program in
        do {
            try await body(Prometheus(address: address))
        } catch {
            throw PrometheusFailed(description: "\(error); Prometheus's log:\n\(program.errors)")
        }
    }
}
