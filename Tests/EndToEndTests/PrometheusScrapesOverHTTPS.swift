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
