import Foundation
import TestSupport
import Testing

/// All attacks, one after another: what one takes of the machine is not measured with another.
///
/// The sanitizers multiply memory and time, so that bounds say nothing there.
@Suite("Attacks", .serialized, .enabled(if: isAsked && !isSanitized, "EXPORTER_PROXY_ATTACKS=1 runs them, without a sanitizer"))
enum Attacks {}

/// They take several minutes, in which no other test should run: `EXPORTER_PROXY_ATTACKS=1 script/test --filter AttackTests`.
private let isAsked = ProcessInfo.processInfo.environment["EXPORTER_PROXY_ATTACKS"] != nil

/// Thrown when an attack could not be run at all.
struct AttackFailed: Error, CustomStringConvertible {
    let description: String
}

/// What `attack.py` measured. Times are in seconds, sizes in bytes.
struct Measurement: Decodable {
    struct Level: Decodable {
        var before, peak, after: Int
    }
    struct Quantiles: Decodable {
        var count: Int
        var p50, p99, max: Double
    }
    struct Witness: Decodable {
        /// By the clock.
        var wait: Quantiles
        /// CPU time of the event loops between a question and its answer.
        var cpu: Quantiles
        var failed: Int
        var failures: [String]
    }
    struct Works: Decodable {
        /// Empty when it works, otherwise why not.
        var scrape: String
        var push: String?
    }
    /// What some attacks say of themselves.
    struct Said: Decodable {
        var apps, scrapes, failed, status, accepted: Int?
        var cpu, waited: Double?
        var answer: String?
        var failures: [String]?
        /// How many requests got which status.
        var statuses: [String: Int]?
        /// The body of the last answer.
        var last: String?
        /// Seconds until then.
        var took: Double?
    }

    var attack: Said
    var seconds: Double
    var alive: Bool
    var idle: Witness
    var witness: Witness
    /// Another peer that pushes over HTTP, and one that reads what it has pushed; only with an HTTP receiver.
    var pusher, scraper: Witness?
    var cpu: Double?
    var loop_cpu: Double?
    var resident: Level?
    var descriptors: Level?
    var threads: Level?
    var held: [String: Int]?
    var lag: Double?
    var stored: Double?
    var rejected: [String: Int]?
    var works: Works?
}

extension ProxyProcess {
    /// Runs one of the attacks of `attack.py` against this proxy.
    /// - Parameter parameters: `KEY=VALUE`, beyond the attack's own defaults.
    func attack(
        _ name: String, _ parameters: String..., format: String = "json", authorization: String? = nil, pushing: String? = nil
    ) async throws -> Measurement {
        try await attack(name, parameters: parameters, format: format, authorization: authorization, pushing: pushing)
    }

    /// The same, with parameters that a test is given.
    func attack(
        _ name: String, parameters: [String], format: String = "json", authorization: String? = nil, pushing: String? = nil
    ) async throws -> Measurement {
        var arguments = ["-B", "\(attackScripts)/attack.py", name, "--pid", "\(program.pid)", "--scrape", scrape, "--format", format]
        if let tcpAddress { arguments += ["--tcp", tcpAddress] }
        if let unixSocket { arguments += ["--unix", unixSocket] }
        if let httpAddress { arguments += ["--http", httpAddress] }
        if let authorization { arguments += ["--authorization", authorization] }
        if let pushing { arguments += ["--pushing", pushing] }
        let result = try await run(python, arguments + parameters, within: .seconds(240))
        guard result.succeeded else { throw AttackFailed(description: "attack.py \(name): \(result.errors)") }
        return try JSONDecoder().decode(Measurement.self, from: Data(result.outputBytes))
    }
}

/// The system's own Python; the attacks need nothing but its standard library.
let python = "/usr/bin/python3"
let attackScripts = "\(checkout)/Tests/AttackTests/Support"

extension Measurement {
    /// What a turn of an event loop may take in a release build on an ordinary machine, in seconds of its thread's CPU time.
    private static let turn = 0.010
    /// What one exchange of the witness takes there. A slower build, or machine, is allowed as much more as it needs for that.
    private static let exchange = 0.000_025
    /// What may stay of what was held for attackers.
    private static let mayStay = 32 << 20
    /// How long a peer may wait by the clock, in seconds, on a machine that has little else to do.
    private static let wait = 0.5

    /// Nothing that the attack did hurts others or lasts.
    /// - Parameters:
    ///   - mebibytes: what the attack may make the program hold, by the limits of its configuration.
    ///   - staying: MiB of what the attack stores, beyond the bytes of metrics.
    ///   - isPolling: whether the program goes on polling: then connections and bodies of targets are no leftovers.
    ///   - turns: how many turns of connections the answer to another peer may have to wait for.
    ///   - keepsPushers: whether each push of another peer is taken, too.
    func expectHarmless(
        holding mebibytes: Int, staying: Int = 0, turns: Double = 2, isPolling: Bool = false, keepsPushers: Bool = true,
        sourceLocation: SourceLocation = #_sourceLocation
    ) throws {
        #expect(alive, sourceLocation: sourceLocation)
        #expect(witness.failed == 0, "\(witness.failures)", sourceLocation: sourceLocation)
        #expect(witness.cpu.count > 0, "the witness got no answer", sourceLocation: sourceLocation)
        let slowness = max(1, idle.cpu.p50 / Self.exchange)
        let allowed = Self.turn * turns * slowness
        for peer in [witness, pusher, scraper].compactMap(\.self) {
            #expect(
                peer.cpu.p99 <= allowed,
                "an event loop worked \(peer.cpu.p99) s before it answered another peer, allowed are \(allowed) s (\(peer))",
                sourceLocation: sourceLocation)
        }
        if let pusher, let scraper {
            #expect(scraper.failed == 0 && scraper.wait.count > 0, "\(scraper)", sourceLocation: sourceLocation)
            #expect(pusher.wait.count > 0 && (!keepsPushers || pusher.failed == 0), "\(pusher)", sourceLocation: sourceLocation)
            // An event loop that waits for a lock uses no CPU time.
            for peer in [pusher, scraper] {
                #expect(
                    peer.wait.p99 <= Self.wait * slowness, "another peer waited \(peer.wait.p99) s", sourceLocation: sourceLocation)
            }
        }
        let resident = try #require(resident, sourceLocation: sourceLocation)
        #expect(
            resident.peak - resident.before <= mebibytes << 20, "it took \((resident.peak - resident.before) >> 20) MiB more",
            sourceLocation: sourceLocation)
        let stored = Int(stored ?? 0) + staying << 20
        #expect(
            resident.after - resident.before <= Self.mayStay + stored,
            "\((resident.after - resident.before) >> 20) MiB stayed, \(stored >> 20) MiB are stored", sourceLocation: sourceLocation)
        let descriptors = try #require(descriptors, sourceLocation: sourceLocation)
        #expect(isPolling || descriptors.after <= descriptors.before, "\(descriptors)", sourceLocation: sourceLocation)
        let threads = try #require(threads, sourceLocation: sourceLocation)
        #expect(threads.peak <= threads.before + 8, "\(threads)", sourceLocation: sourceLocation)
        let left = try #require(held, sourceLocation: sourceLocation).filter { $0.value != 0 && !(isPolling && $0.key == "polling") }
        #expect(left == [:], sourceLocation: sourceLocation)
        let works = try #require(works, sourceLocation: sourceLocation)
        #expect(works.scrape == "", sourceLocation: sourceLocation)
        #expect(works.push ?? "" == "", sourceLocation: sourceLocation)
    }
}

/// Configurations that the attacks share: one event loop, so that each attack meets the witness on it.
enum Attacked {
    /// - Parameter more: further keys of `[exporter]`.
    static func scrape(_ more: String = "") -> String {
        """
        [exporter]
        worker_threads = 0
        scrape_expose_endpoint = "127.0.0.1:0"
        \(more)

        """
    }

    /// With the development certificates, asking for those of clients.
    static func tls(_ mode: String = "optional") -> String {
        scrape("tls = \"\(mode)\"")
            + """
            [exporter.tls_server_config]
            cert_file = "certs/server.pem"
            key_file = "certs/server-key.pem"
            client_auth_type = "RequestClientCert"

            """
    }

    /// - Parameter more: further keys of `[receiver]`.
    static func receiver(_ more: String = "", format: String = "json") -> String {
        """
        [receiver]
        format = "\(format)"
        receive_on_tcp_socket = true
        receiver_tcp_socket = "127.0.0.1:0"
        \(more)

        """
    }

    /// - Parameter more: further keys of `[receiver]`.
    static func httpReceiver(_ more: String = "") -> String {
        """
        [receiver]
        receive_on_http_socket = true
        receiver_http_socket = "127.0.0.1:0"
        \(more)

        """
    }

    /// Polls paths of `targets.py` each second.
    static func poll(_ paths: [String], port: String, host: String = "127.0.0.1", _ more: String = "") -> String {
        """
        [poll_external]
        poll_other_scrape_endpoints = true
        other_scrape_endpoints = [\(paths.map { "\"http://\(host):\(port)/\($0)\"" }.joined(separator: ", "))]
        poll_interval = 3
        client_timeout = 2
        \(more)

        """
    }
}

/// Runs `targets.py` as long as `body` does.
func withHostileTargets(
    on address: String = "127.0.0.1", _ body: (_ port: String, _ output: () -> String) async throws -> Void
) async throws {
    try await withProgram(python, ["-B", "\(attackScripts)/targets.py", address]) { targets in
        let output = { String(decoding: targets.outputBytes, as: UTF8.self) }
        let port = try await wait(for: "the port of the targets") {
            output().contains("\n") ? output().split(separator: "\n").first.map(String.init) : nil
        }
        try await body(port, output)
    }
}
