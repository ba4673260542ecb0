import Foundation
import TestSupport
import Testing

/// How many reloads; `EXPORTER_PROXY_RELOADS=500` for the whole test, whose clients make no pause.
private let asked = ProcessInfo.processInfo.environment["EXPORTER_PROXY_RELOADS"].flatMap { Int($0) }
private let count = asked ?? 15

@Test("random reloads, good and broken, under constant scraping, pushing and polling: none fails, none is lost, nothing is leaked")
func manyReloadsDisturbNobody() async throws {
    try await HTTPTarget.with { request in
        [.respond("target\(request.path.dropFirst()) 1\n")]
    } _: { target in
        try await withProxy(Configurations.scrape.replacing("127.0.0.1:0", with: "[::1]:0"), certificates: true) { probe in
            let (moving, tcp) = try ("\(reservePort())", "\(reservePort())")
            var edits = Edits(moving: moving, tcp: tcp, target: target.port, busy: probe.scrapePort)
            try await withProxy(edits.first, certificates: true) { proxy in
                try await waitUntilReady(proxy)
                let steady = proxy.scrapeAddresses[0]
                try await ConstantLoad.with(
                    steady: steady, moving: "127.0.0.1:\(moving)", tcp: "127.0.0.1:\(tcp)", unix: proxy.unixSocket ?? "",
                    expecting: "target1 1", pause: asked == nil ? 0.02 : 0
                ) { load in
                    var early: Resources?
                    for index in 0..<count {
                        let edit = edits.next()
                        try await proxy.reloading("reload \(index): \(edit.text)") {
                            try proxy.writeInPlace("config.toml", edit.text)
                            if index.isMultiple(of: 3) { proxy.program.send(signal: SIGHUP) }
                        }
                        // Arenas, pools and caches have found their size by then.
                        if index == count / 4 { early = try await settled(proxy) }
                    }
                    let figures = try await load.stop()
                    let late = try await settled(proxy)
                    #expect(figures.failures == [])
                    #expect(figures.scrapes > 0 && figures.pushes > 0, "\(figures)")
                    let before = try #require(early)
                    // Dispatch's own workers come and go.
                    #expect(late.threads <= before.threads + 4, "\(before) \(late)")
                    // Of the connections to clients and to the targets one or two more or less are open at any moment.
                    #expect(late.descriptors <= before.descriptors + 2, "\(before) \(late)")
                    #expect(late.residentBytes < before.residentBytes + 16 << 20, "\(before) \(late)")
                    print("\(count) reloads, \(figures.scrapes) scrapes, \(figures.pushes) pushes; early \(before), late \(late)")
                }
            }
        }
    }
}

/// What a process holds.
private struct Resources: CustomStringConvertible {
    var descriptors: Int
    var threads: Int
    var residentBytes: Int

    var description: String { "\(descriptors) descriptors, \(threads) threads, \(residentBytes >> 10) KiB" }

    init(of pid: Int32) throws {
        descriptors = try FileManager.default.contentsOfDirectory(atPath: "/proc/\(pid)/fd").count
        threads = try FileManager.default.contentsOfDirectory(atPath: "/proc/\(pid)/task").count
        let pages = try String(contentsOfFile: "/proc/\(pid)/statm", encoding: .utf8).split(separator: " ")
        residentBytes = (Int(pages[1]) ?? 0) * Int(sysconf(Int32(_SC_PAGESIZE)))
    }
}

/// The least that it holds within some seconds: closed listeners have drained then.
private func settled(_ proxy: ProxyProcess) async throws -> Resources {
    var least = try Resources(of: proxy.program.pid)
    for _ in 0..<30 {
        try await Task.sleep(for: .milliseconds(100))
        let now = try Resources(of: proxy.program.pid)
        if now.descriptors <= least.descriptors { least = now }
    }
    return least
}

/// Random configurations, about a third of them broken. Of the good ones each has what the load relies on, in changing shapes.
private struct Edits {
    let moving: String
    let tcp: String
    let target: UInt16
    let busy: String
    private var random = SystemRandomNumberGenerator()

    init(moving: String, tcp: String, target: UInt16, busy: String) {
        self.moving = moving
        self.tcp = tcp
        self.target = target
        self.busy = busy
    }

    var first: String { good(host: "127.0.0.1", tcpHost: "127.0.0.1", mode: "0660", targets: [1], more: "") }

    mutating func next() -> (text: String, isGood: Bool) {
        let hosts = ["127.0.0.1", "0.0.0.0", "[::]"]
        let targets = [1] + (2...6).filter { _ in Bool.random(using: &random) }
        let more = [
            "", "idle_timeout = \(Int.random(in: 60...600, using: &random))",
            "max_connections = \(Int.random(in: 1000...5000, using: &random))",
            "concurrent_requests = \(Int.random(in: 100...5000, using: &random))", "enable_lifecycle = true",
        ]
        let text =
            good(
                host: hosts.randomElement(using: &random) ?? "", tcpHost: ["127.0.0.1", "0.0.0.0"].randomElement(using: &random) ?? "",
                mode: ["0660", "0600", "0666"].randomElement(using: &random) ?? "", targets: targets,
                more: more.randomElement(using: &random) ?? "") + "# \(UInt64.random(in: 0...UInt64.max, using: &random))\n"
        guard Int.random(in: 0..<3, using: &random) == 0 else { return (text, true) }
        let broken = [
            text.replacing("[exporter]", with: "[exporter]\nunknown = 1"), "# \(text.count)\n", String(text.prefix(text.count / 2)) + "\n[",
            text.replacing("[\"127.0.0.1:0\"", with: "[\"[::1]:\(busy)\", \"127.0.0.1:0\""),
            text + "[exporter.tls_server_config]\ncert_file = \"certs/server.pem\"\nkey_file = \"certs/client-key.pem\"\n",
            text + "[exporter.tls_server_config]\ncert_file = \"missing.pem\"\nkey_file = \"certs/client-key.pem\"\n",
        ]
        return (broken.randomElement(using: &random) ?? "", false)
    }

    private func good(host: String, tcpHost: String, mode: String, targets: [Int], more: String) -> String {
        let urls = targets.map { "\"http://127.0.0.1:\(target)/\($0)\"" }.joined(separator: ", ")
        return """
            [exporter]
            worker_threads = 0
            scrape_expose_endpoint = ["127.0.0.1:0", "\(host):\(moving)"]
            shutdown_timeout = 2
            \(more)
            [receiver]
            receive_on_tcp_socket = true
            receiver_tcp_socket = "\(tcpHost):\(tcp)"
            receive_on_unix_socket = true
            receiver_unix_socket = "receiver.sock"
            unix_socket_mode = "\(mode)"
            [poll_external]
            poll_other_scrape_endpoints = true
            other_scrape_endpoints = [\(urls)]
            poll_interval = 1
            client_timeout = 1

            """
    }
}
