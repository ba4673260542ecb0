import TestSupport
import Testing

@Suite struct EachAppIsATargetOfPrometheus {
    private static func config(_ proxy: ProxyProcess) -> String {
        """
        global: {scrape_interval: 1s, scrape_timeout: 1s}
        scrape_configs:
          - job_name: apps
            http_sd_configs:
              - url: http://\(proxy.scrape)/sd
                refresh_interval: 1s
            relabel_configs:
              - source_labels: [app]
                target_label: instance

        """
    }

    @Test("a real Prometheus discovers pushed and polled apps by /sd, each with an up of its own, and forgets those that are gone")
    func discovery() async throws {
        let start = Configurations.scrape + "enable_lifecycle = true\n" + Configurations.receivers()
        // Nothing listens there.
        try await withProxy(start + Configurations.poll("http://127.0.0.1:1/metrics")) { proxy in
            #expect(try await pushOverUnixSocket(#"{"one": "value 1", "two/\"quoted\" größe": "value 2"}"#, to: proxy) == "")
            try await withPrometheus(Self.config(proxy), folder: proxy.folder) { prometheus in
                try await wait(for: "the first app") { try await prometheus.query(#"up{instance="one"}"#) == "1" }
                try await wait(for: "its sample") { try await prometheus.query(#"value{app="one"}"#) == "1" }
                let two = #"{app="two/\"quoted\" größe",instance="two/\"quoted\" größe",job="apps"}"#
                try await wait(for: "the second app") { try await prometheus.query("up\(two)") == "1" }
                try await wait(for: "its sample") { try await prometheus.query("value\(two)") == "2" }
                try await wait(for: "the failing target") {
                    try await prometheus.query(#"up{instance="external_poll: 127.0.0.1:1"}"#) == "0"
                }
                // One that comes later, and one that goes.
                #expect(try await pushOverUnixSocket(#"{"three": "value 3"}"#, to: proxy) == "")
                #expect(try await curl("http://\(proxy.scrape)/apps/one", ["-X", "DELETE"]).status == 204)
                try await wait(for: "a new app") { try await prometheus.query(#"up{instance="three"}"#) == "1" }
                try await wait(for: "an app to be forgotten") { try await prometheus.query(#"up{instance="one"}"#) == nil }
            }
        }
    }

    @Test("the up of an app that pushes no more falls to 0 when it expires, and comes back with its next push")
    func expiry() async throws {
        let start = Configurations.scrape + "expire_after = \"3s\"\n" + Configurations.receivers()
        try await withProxy(start) { proxy in
            try await withPrometheus(Self.config(proxy), folder: proxy.folder) { prometheus in
                for _ in 1...2 {
                    try await wait(for: "the app to be up while it pushes") {
                        _ = try await pushOverUnixSocket(#"{"quiet": "value 1"}"#, to: proxy)
                        return try await prometheus.query(#"up{instance="quiet"}"#) == "1"
                    }
                    try await wait(for: "its up to fall") { try await prometheus.query(#"up{instance="quiet"}"#) == "0" }
                    #expect(try await curl("http://\(proxy.scrape)/apps").body.contains(" (expired) "))
                }
            }
        }
    }
}
