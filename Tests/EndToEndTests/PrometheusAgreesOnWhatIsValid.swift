import Foundation
import TestSupport
import Testing

/// Prometheus's answer to the question how its targets are.
private struct TargetsAnswer: Decodable {
    struct Contents: Decodable { var activeTargets: [Target] }
    struct Target: Decodable {
        var labels: [String: String]
        var health: String
        var lastError: String
    }
    var data: Contents
}

@Suite struct PrometheusAgreesOnWhatIsValid {
    /// All texts of the tables, and what mutation makes of real ones.
    private static let texts: [String] = {
        var random = RandomTexts(seed: 20_221_127)
        var texts = validMetrics + invalidMetrics.map(\.text)
        // A NUL byte is refused at the door, and so are bytes that are not UTF-8.
        texts.removeAll { $0.contains("\0") }
        while texts.count < 700 {
            if let text = String(validating: random.next(), as: UTF8.self), !text.contains("\0") { texts.append(text) }
        }
        return texts
    }()

    private static func name(_ index: Int) -> String { "t\(index)" }

    /// The texts that `lint` finds errors in, and those that Prometheus 2 refuses, as `lint` says.
    private func verdicts(_ folder: TemporaryFolder) async throws -> (invalid: Set<String>, refusedBy2: Set<String>) {
        for (index, text) in Self.texts.enumerated() { try folder.write("texts/\(Self.name(index))", text) }
        let names = Self.texts.indices.map(Self.name)
        let result = try await run(ProxyProcess.executable, ["lint"] + names, workingFolder: folder.path("texts"))
        #expect(result.status == .exited(1))
        func texts(with part: String) -> Set<String> {
            Set(
                result.errors.split(separator: "\n").filter { $0.contains(part) }.compactMap {
                    $0.split(separator: ":").first.map(String.init)
                })
        }
        return (texts(with: ": error: "), texts(with: "Prometheus 2 refuses it"))
    }

    @Test("the up of each of hundreds of targets, one for each text, is what lint says of the text")
    func upIsValidity() async throws {
        let version = try await run(Tools.prometheus, ["--version"])
        let isVersion2 = version.output.contains("version 2.") || version.errors.contains("version 2.")
        // Whatever they are, the texts must get in.
        let config = Configurations.scrape + Configurations.receivers() + "[metrics]\nvalidate = \"off\"\n"
        try await withProxy(config) { proxy in
            let (invalid, refusedBy2) = try await verdicts(proxy.folder)
            let apps = Dictionary(uniqueKeysWithValues: Self.texts.enumerated().map { (Self.name($0.offset), $0.element) })
            #expect(try await pushOverUnixSocket([UInt8](JSONEncoder().encode(apps)), to: proxy) == "")
            let groups = apps.keys.map { "      - {targets: ['\(proxy.scrape)'], labels: {app: \($0), __param_app: \($0)}}" }
            let interval = isSanitized ? "60s" : "5s"
            let prometheus = """
                global: {scrape_interval: \(interval), scrape_timeout: \(interval)}
                scrape_configs:
                  - job_name: texts
                    static_configs:
                \(groups.joined(separator: "\n"))

                """
            try await withPrometheus(prometheus, folder: proxy.folder) { prometheus in
                let targets = try await wait(for: "a scrape of each text") { () async throws -> [TargetsAnswer.Target]? in
                    let answer = try await runCurl(["http://\(prometheus.address)/api/v1/targets"])
                    let targets = try? JSONDecoder().decode(TargetsAnswer.self, from: Data(answer.outputBytes)).data.activeTargets
                    guard let targets, targets.count == apps.count, targets.allSatisfy({ $0.health != "unknown" }) else { return nil }
                    return targets
                }
                var up = 0
                for target in targets {
                    let app = target.labels["app"] ?? ""
                    let isUp = !invalid.contains(app) && !(isVersion2 && refusedBy2.contains(app))
                    if isUp { up += 1 }
                    #expect((target.health == "up") == isUp, "\(app): \(apps[app] ?? "")\n\(target.lastError)")
                }
                #expect(up > 150 && up < 600)
            }
        }
    }
}
