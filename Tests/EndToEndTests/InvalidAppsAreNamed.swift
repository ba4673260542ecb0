import Foundation
import TestSupport
import Testing

@Suite struct InvalidAppsAreNamed {
    /// The state of an app, as JSON has it.
    private func state(of app: String, _ proxy: ProxyProcess) async throws -> String? {
        struct Apps: Decodable {
            struct App: Decodable { var name, state: String }
            var apps: [App]
        }
        let answer = try await curl("http://\(proxy.scrape)/apps?format=json")
        return try JSONDecoder().decode(Apps.self, from: Data(answer.bodyBytes)).apps.first { $0.name == app }?.state
    }

    @Test("by default bytes pass, and soon /apps, /apps/NAME, the metrics and the log say what is wrong and where")
    func report() async throws {
        try await withProxy(Configurations.scrape + Configurations.receivers()) { proxy in
            #expect(try await pushOverUnixSocket(#"{"backup": "x 1\nbackup_seconds 12,5", "fine": "y 1"}"#, to: proxy) == "")
            #expect(try await curl("http://\(proxy.scrape)/metrics?app=backup").body == "x 1\nbackup_seconds 12,5\n")
            try await wait(for: "the verdict") { try await state(of: "backup", proxy) == "invalid" }
            #expect(try await state(of: "fine", proxy) == "ok")
            #expect(try await curl("http://\(proxy.scrape)/apps").body.contains(" (invalid) "))
            let sentence = "line 2, column 16: value \"12,5\" is not a number: write a decimal point, not a comma"
            #expect(try await curl("http://\(proxy.scrape)/apps/backup").body.contains(sentence))
            let metrics = try await curl("http://\(proxy.scrape)/metrics/self").body
            #expect(metrics.contains("exporter_proxy_app_valid{app=\"backup\"} 0\n"))
            #expect(metrics.contains("exporter_proxy_app_valid{app=\"fine\"} 1\n"))
            #expect(metrics.contains("exporter_proxy_app_samples{app=\"backup\"} 1\n"))
            try await wait(for: "the log") { proxy.log.contains("app is invalid") && proxy.log.contains("column 16") }
            #expect(try await pushOverUnixSocket(#"{"backup": "backup_seconds 12.5"}"#, to: proxy) == "")
            try await wait(for: "the new verdict") { try await state(of: "backup", proxy) == "ok" }
            try await wait(for: "the log") { proxy.log.contains("app is valid again") }
        }
    }

    @Test("with refuse the pusher gets the reason; a reload to refuse takes invalid apps out until they send valid metrics")
    func refuse() async throws {
        try await withProxy(Configurations.scrape + Configurations.receivers()) { proxy in
            #expect(try await pushOverUnixSocket(#"{"sick": "wrong", "fine": "y 1"}"#, to: proxy) == "")
            try await wait(for: "the verdict") { try await state(of: "sick", proxy) == "invalid" }
            let config = Configurations.scrape.replacing("127.0.0.1:0", with: proxy.scrape) + Configurations.receivers()
            try proxy.folder.write(
                "config.toml",
                config.replacing("127.0.0.1:0", with: "127.0.0.1:\(proxy.tcpPort)") + "[metrics]\nvalidate = \"refuse\"\n")
            proxy.program.send(signal: SIGHUP)
            try await wait(for: "the reload") { try await curl("http://\(proxy.scrape)/metrics?app=sick").status == 503 }
            #expect(try await curl("http://\(proxy.scrape)/metrics").body.hasPrefix("y 1\n# HELP exporter_proxy_"))
            #expect(try await state(of: "sick", proxy) == "invalid")
            let refused = try await pushOverUnixSocket(#"{"fine": "x 1\ny 1\nseconds 12,5"}"#, to: proxy)
            #expect(refused == "error: app fine: line 3, column 9: value \"12,5\" is not a number: write a decimal point, not a comma\n")
            #expect(try await curl("http://\(proxy.scrape)/metrics?app=fine").body == "y 1\n")
            #expect(try await curl("http://\(proxy.scrape)/metrics/self").body.contains("reason=\"invalid_metrics\"} 1\n"))
            #expect(try await pushOverUnixSocket(#"{"sick": "z 1"}"#, to: proxy) == "")
            #expect(try await curl("http://\(proxy.scrape)/metrics?app=sick").body == "z 1\n")
        }
    }

    @Test("series that two apps expose are told at /collisions, in the metrics and in the log, and app_label keeps them apart")
    func collisions() async throws {
        try await withProxy(Configurations.scrape + Configurations.receivers()) { proxy in
            #expect(try await pushOverUnixSocket(#"{"a": "go_goroutines 7", "b": "go_goroutines 8"}"#, to: proxy) == "")
            try await wait(for: "the search") {
                try await curl("http://\(proxy.scrape)/collisions").body.contains("\ngo_goroutines\n    2 times, by: a, b\n")
            }
            let json = try await curl("http://\(proxy.scrape)/collisions?format=json").body
            #expect(json.contains("{\"series\": \"go_goroutines\", \"times\": 2, \"apps\": [\"a\", \"b\"], \"more_apps\": false}"))
            #expect(try await curl("http://\(proxy.scrape)/metrics/self").body.contains("\nexporter_proxy_colliding_series 1\n"))
            try await wait(for: "the log") { proxy.log.contains("set app_label in [metrics]") }
        }
        let labelled = Configurations.scrape + Configurations.receivers() + "[metrics]\napp_label = \"app\"\n"
        try await withProxy(labelled) { proxy in
            #expect(try await pushOverUnixSocket(#"{"a": "go_goroutines 7", "b": "go_goroutines{app=\"x\"} 8"}"#, to: proxy) == "")
            #expect(
                try await curl("http://\(proxy.scrape)/metrics").body.hasPrefix(
                    "go_goroutines{app=\"a\"} 7\ngo_goroutines{exported_app=\"x\",app=\"b\"} 8\n"))
            try await wait(for: "the search") {
                try await curl("http://\(proxy.scrape)/collisions").body == "no series is exposed more than once\n"
            }
        }
        // Invalid metrics get no label. To set it does not help then.
        try await withProxy(labelled) { proxy in
            #expect(try await pushOverUnixSocket(#"{"a": "same 1\nwrong", "b": "same 2\nwrong"}"#, to: proxy) == "")
            try await wait(for: "the search") {
                try await curl("http://\(proxy.scrape)/collisions").body.contains(" Series of several apps have no app_label: ")
            }
            #expect(try await curl("http://\(proxy.scrape)/apps?format=html").body.contains(" Series of several apps have no app_label: "))
            try await wait(for: "the log") { proxy.log.contains("keeps one sample of each: see /collisions ") }
        }
    }

    @Test("checks can be switched off and on again while it runs")
    func offAndOn() async throws {
        let config = Configurations.scrape + Configurations.receivers()
        try await withProxy(config) { proxy in
            func check(_ app: String, _ expected: String) async throws {
                #expect(try await pushOverUnixSocket("{\"\(app)\": \"wrong\"}", to: proxy) == "")
                try await wait(for: "the verdict") { try await state(of: app, proxy) == expected }
            }
            try await check("first", "invalid")
            try await proxy.save(config + "[metrics]\nvalidate = \"off\"\n")
            #expect(try await curl("http://\(proxy.scrape)/collisions").status == 404)
            try await proxy.save(config + "[metrics]\nvalidate = \"report\"\n")
            try await check("second", "invalid")
        }
    }

    @Test("with off nothing is told, and there is no list of collisions")
    func off() async throws {
        try await withProxy(Configurations.scrape + Configurations.receivers() + "[metrics]\nvalidate = \"off\"\n") { proxy in
            #expect(try await pushOverUnixSocket(#"{"sick": "wrong"}"#, to: proxy) == "")
            #expect(try await curl("http://\(proxy.scrape)/collisions").status == 404)
            let metrics = try await curl("http://\(proxy.scrape)/metrics/self").body
            #expect(!metrics.contains("exporter_proxy_app_valid") && !metrics.contains("exporter_proxy_colliding_series"))
            #expect(try await state(of: "sick", proxy) == "ok")
        }
    }
}
