import Foundation
import TestSupport
import Testing

/// The proxy's own metrics and their labels, as docs/metrics.md lists them, which is tested against what the program exposes.
private let selfMetrics: [String: Set<String>] = {
    guard let text = try? String(contentsOfFile: "\(checkout)/docs/metrics.md", encoding: .utf8) else { return [:] }
    let rows = text.matches(of: /\| `(exporter_proxy_[a-z_]+)(?:\{([a-z_,]+)\})?` \|/)
    return Dictionary(
        rows.map { (String($0.output.1), Set(($0.output.2 ?? "").split(separator: ",").map(String.init))) }, uniquingKeysWith: { $1 })
}()

/// What would only fill the dashboard.
private let notShown: Set<String> = ["exporter_proxy_process_virtual_memory_bytes", "exporter_proxy_process_threads"]

/// Every target has these.
private let targetLabels: Set<String> = ["job", "instance"]

private func contrib(_ name: String) throws -> String { try String(contentsOfFile: "\(checkout)/contrib/\(name)", encoding: .utf8) }

private func metrics(in text: String) -> Set<String> {
    Set(text.matches(of: /exporter_proxy_[a-z_]+/).map { String($0.output) })
}

/// Metrics that an expression uses are there, and have the labels that it selects by.
private func expectKnown(_ expression: String) {
    for metric in metrics(in: expression) { #expect(selfMetrics[metric] != nil, "\(metric) in \(expression)") }
    for selector in expression.matches(of: /(exporter_proxy_[a-z_]+)\{([^}]*)\}/) {
        let known = (selfMetrics[String(selector.output.1)] ?? []).union(targetLabels)
        for label in selector.output.2.matches(of: /([a-z_]+)[=!]/) {
            #expect(known.contains(String(label.output.1)), "\(label.output.1) in \(expression)")
        }
    }
}

private struct Dashboard: Decodable {
    struct Place: Decodable {
        var x, y, w, h: Int
        func overlaps(_ other: Place) -> Bool { x < other.x + other.w && other.x < x + w && y < other.y + other.h && other.y < y + h }
    }
    struct Source: Decodable { var type, uid: String }
    struct Target: Decodable {
        var refId, expr, legendFormat: String
        var datasource: Source
    }
    struct Panel: Decodable {
        var id: Int
        var type, title: String
        var gridPos: Place
        var targets: [Target]?
    }
    struct Variable: Decodable {
        /// Of a datasource its kind, of a query an object.
        enum Query: Decodable, Equatable {
            case text(String)
            case object

            init(from decoder: any Decoder) throws {
                self = (try? decoder.singleValueContainer().decode(String.self)).map { .text($0) } ?? .object
            }
        }

        var name, type: String
        var definition: String?
        var query: Query
    }
    struct Templating: Decodable { var list: [Variable] }
    var title, uid: String
    var schemaVersion: Int
    var panels: [Panel]
    var templating: Templating

    static func load() throws -> Dashboard {
        try JSONDecoder().decode(Dashboard.self, from: Data(contrib("grafana/exporter-proxy.json").utf8))
    }
}

@Suite struct GrafanaDashboard {
    @Test("its panels stand side by side on the grid, and each has a number of its own")
    func layout() throws {
        let dashboard = try Dashboard.load()
        #expect(dashboard.uid == "exporter-proxy" && dashboard.schemaVersion >= 39)
        #expect(dashboard.panels.count > 20)
        #expect(Set(dashboard.panels.map(\.id)).count == dashboard.panels.count)
        for (index, panel) in dashboard.panels.enumerated() {
            #expect(panel.id > 0 && !panel.title.isEmpty)
            #expect(["row", "stat", "table", "timeseries", "state-timeline"].contains(panel.type), "\(panel.title)")
            let place = panel.gridPos
            #expect(place.x >= 0 && place.w > 0 && place.x + place.w <= 24 && place.h > 0, "\(panel.title)")
            for other in dashboard.panels[..<index] { #expect(!place.overlaps(other.gridPos), "\(panel.title) lies on \(other.title)") }
        }
    }

    @Test("it asks for the proxy's own metrics alone, by labels that they have, and for every one of them")
    func usesKnownMetrics() throws {
        let dashboard = try Dashboard.load()
        #expect(dashboard.templating.list.map(\.name) == ["datasource", "job", "instance"])
        // Grafana asks for each in this order: what the others are looked up in comes first.
        #expect(dashboard.templating.list.map(\.type) == ["datasource", "query", "query"])
        #expect(dashboard.templating.list[0].query == .text("prometheus"))
        for variable in dashboard.templating.list { variable.definition.map(expectKnown) }
        for panel in dashboard.panels where panel.type != "row" {
            let targets = panel.targets ?? []
            #expect(!targets.isEmpty, "\(panel.title)")
            #expect(Set(targets.map(\.refId)).count == targets.count, "\(panel.title)")
            for target in targets {
                #expect(target.datasource.type == "prometheus" && target.datasource.uid == "${datasource}", "\(panel.title)")
                let used = metrics(in: target.expr)
                // Prometheus itself adds up.
                #expect(!used.isEmpty || target.expr.hasPrefix("up{"), "\(target.expr)")
                expectKnown(target.expr)
                let labels = used.reduce(targetLabels) { $0.union(selfMetrics[$1] ?? []) }
                for label in target.legendFormat.matches(of: /\{\{([a-z_]+)\}\}/) {
                    #expect(labels.contains(String(label.output.1)), "\(label.output.1) in the legend of \(panel.title)")
                }
                for list in target.expr.matches(of: /by \(([^)]*)\)/) {
                    for label in list.output.1.split(separator: ",") {
                        #expect(labels.contains(label.trimmingCharacters(in: .whitespaces)), "\(label) in \(target.expr)")
                    }
                }
            }
        }
        let used = metrics(in: try contrib("grafana/exporter-proxy.json"))
        #expect(selfMetrics.count > 25)
        #expect(Set(selfMetrics.keys).subtracting(used) == notShown, "not shown anywhere")
    }

    @Test("promtool understands each of its expressions")
    func expressions() async throws {
        let expressions = try Dashboard.load().panels.flatMap { $0.targets ?? [] }.map(\.expr)
        // Grafana fills these in.
        let filled = expressions.map {
            $0.replacing("$__rate_interval", with: "5m").replacing("$job", with: ".*").replacing("$instance", with: ".*")
        }
        #expect(!filled.contains { $0.contains("$") })
        let rules = filled.enumerated().map { index, expression in
            "      - {record: \"dashboard:\(index)\", expr: '\(expression)'}"
        }
        try await withTemporaryFolder { folder in
            let file = try folder.write("rules.yml", "groups:\n  - name: dashboard\n    rules:\n" + rules.joined(separator: "\n") + "\n")
            let result = try await run(Tools.promtool, ["check", "rules", file])
            #expect(result.succeeded && result.output.contains("\(rules.count) rules found"), "\(result.output)\(result.errors)")
        }
    }
}

/// The second file has what takes days.
private let alertTests = ["exporter-proxy.test.yml", "exporter-proxy.days.test.yml"]

@Suite struct PrometheusAlerts {
    @Test("promtool accepts the rules, and their unit tests pass")
    func promtoolAcceptsThem() async throws {
        let folder = "\(checkout)/contrib/prometheus"
        let check = try await run(Tools.promtool, ["check", "rules", "exporter-proxy.rules.yml"], workingFolder: folder)
        #expect(check.succeeded, "\(check.output)\(check.errors)")
        for tests in alertTests {
            let test = try await run(Tools.promtool, ["test", "rules", tests], workingFolder: folder)
            #expect(test.succeeded, "\(test.output)\(test.errors)")
        }
    }

    @Test("every alert has a test in which it fires and one in which it does not, and asks for metrics that are there")
    func everyAlertIsTested() throws {
        let rules = try contrib("prometheus/exporter-proxy.rules.yml")
        let tests = try alertTests.map { try contrib("prometheus/\($0)") }.joined()
        let alerts = rules.matches(of: /- alert: (\w+)/).map { String($0.output.1) }
        #expect(alerts.count >= 10)
        for alert in alerts {
            let outcomes = tests.components(separatedBy: "alertname: \(alert)\n").dropFirst()
            #expect(outcomes.contains { $0.hasPrefix("        exp_alerts:\n          - exp_labels") }, "\(alert) never fires")
            #expect(outcomes.contains { $0.hasPrefix("        exp_alerts: []") }, "\(alert) always fires")
        }
        expectKnown(rules)
        expectKnown(tests)
    }
}

@Suite struct SystemdUnit {
    /// It makes its folder in /run where systemd does not run, as in a container. An ordinary user may not.
    private static let isThere =
        FileManager.default.isExecutableFile(atPath: "/usr/bin/systemd-analyze")
        && (geteuid() == 0 || FileManager.default.fileExists(atPath: "/run/systemd"))
    private static let whatIsNeeded: Comment = "needs systemd-analyze, and root where systemd does not run"

    /// The unit with the program where these tests have it, beside its socket unit.
    private func write(to folder: TemporaryFolder) throws -> String {
        let unit = try contrib("systemd/exporter-proxy.service")
        let installed = "/usr/bin/exporter-proxy"
        #expect(unit.contains("\nExecStart=\(installed) "))
        _ = try folder.write("exporter-proxy.socket", contrib("systemd/exporter-proxy.socket"))
        return try folder.write("exporter-proxy.service", unit.replacing(installed, with: ProxyProcess.executable))
    }

    @Test("systemd accepts it without a warning", .enabled(if: isThere, whatIsNeeded))
    func verify() async throws {
        try await withTemporaryFolder { folder in
            let result = try await run("systemd-analyze", ["verify", "--man=no", write(to: folder)])
            #expect(result.succeeded && result.output == "" && result.errors == "", "\(result.output)\(result.errors)")
        }
    }

    @Test("systemd finds little that it could do to the machine", .enabled(if: isThere, whatIsNeeded))
    func security() async throws {
        try await withTemporaryFolder { folder in
            // The threshold is 2.0 of 10: it has 1.6, and a service without any hardening has 9.6.
            let result = try await run(
                "systemd-analyze", ["security", "--no-pager", "--offline=true", "--threshold=20", write(to: folder)])
            #expect(result.succeeded, "\(result.output)\(result.errors)")
        }
    }

    @Test("its commands are the program's")
    func commands() async throws {
        let unit = try contrib("systemd/exporter-proxy.service")
        for line in unit.matches(of: /Exec(?:Start|Reload)=\/usr\/bin\/exporter-proxy (.*)/) {
            let arguments = line.output.1.split(separator: " ").map(String.init)
            #expect(arguments.suffix(2) == ["--config", "/etc/exporter-proxy/config.toml"])
            let help = try await run(ProxyProcess.executable, arguments.dropLast(2) + ["--help"])
            #expect(help.succeeded && help.output.contains("--config"), "\(arguments)")
        }
    }

    @Test("the socket unit, the packaged configuration and the user database name the same addresses and groups")
    func addresses() throws {
        let socket = try contrib("systemd/exporter-proxy.socket")
        let configuration = try contrib("package/config.toml")
        let users = try contrib("package/sysusers.conf")
        let addresses = socket.matches(of: /\nListenStream=(.*)/).map { String($0.output.1) }
        #expect(addresses.count == 2)
        for address in addresses { #expect(configuration.contains(" = \"\(address)\"\n"), "\(address)") }
        let group = try #require(socket.firstMatch(of: /\nSocketGroup=(.*)/)).output.1
        #expect(configuration.contains("\nunix_socket_group = \"\(group)\"\n"))
        #expect(users.contains("\ng \(group) "))
        let mode = try #require(socket.firstMatch(of: /\nSocketMode=(.*)/)).output.1
        #expect(configuration.contains("\nunix_socket_mode = \"\(mode)\"\n"))
    }
}
