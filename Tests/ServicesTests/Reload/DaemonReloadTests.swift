import Foundation
import Logging
import Proxy
import TestSupport
import Testing

@testable import Services

/// A daemon on loopback, and the file that it was started with.
private struct LoopbackDaemon {
    let daemon: Daemon
    let folder: TemporaryFolder

    func load(_ text: String) throws -> LoadedConfig {
        try folder.write("config.toml", text)
        return try ConfigLoader(file: folder.path("config.toml")).load()
    }

    @discardableResult
    func reload(_ text: String) async throws -> ReloadPlan { try await daemon.reload(to: daemon.prepare(load(text))) }
}

private func withDaemon(
    _ text: String, logger: Logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() },
    _ body: (LoopbackDaemon, Daemon.Addresses) async throws -> Void
) async throws {
    try await withTemporaryFolder { folder in
        try folder.write("config.toml", text)
        let loaded = try ConfigLoader(file: folder.path("config.toml")).load()
        let daemon = Daemon(loaded, logger: logger)
        let addresses = try await daemon.start()
        do {
            try await body(LoopbackDaemon(daemon: daemon, folder: folder), addresses)
        } catch {
            await daemon.stop()
            await daemon.endEventLoops()
            throw error
        }
        await daemon.stop()
        await daemon.endEventLoops()
    }
}

/// Without a deadline that a loaded machine could reach.
private func exporter(_ addresses: String..., more: String = "") -> String {
    let listed = addresses.map { "\"\($0)\"" }.joined(separator: ", ")
    return """
        [exporter]
        worker_threads = 1
        scrape_expose_endpoint = [\(listed)]
        shutdown_timeout = 600
        header_timeout = 600
        \(more)

        """
}

private func tcp(_ address: String, _ more: String = "") -> String {
    "[receiver]\nreceive_on_tcp_socket = true\nreceiver_tcp_socket = \"\(address)\"\n\(more)\n"
}

/// Whether no socket has the port, not even one that does not listen.
private func isUnbound(_ port: UInt16) -> Bool {
    let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
    defer { close(descriptor) }
    return bind(descriptor, to: "0.0.0.0", port)
}

@Suite("Daemon, reloading")
struct DaemonReloadTests {
    @Test("the same configuration again touches nothing")
    func nothing() async throws {
        let config = exporter("127.0.0.1:0") + tcp("127.0.0.1:0")
        try await withDaemon(config) { it, addresses in
            let kept = try RawConnection(to: addresses.scrape[0])
            #expect(try await kept.get("/-/healthy").status == 200)
            #expect(try await it.reload(config + "# a comment\n").isEmpty)
            #expect(await it.daemon.addresses == addresses)
            #expect(try await kept.get("/-/healthy").status == 200)
        }
    }

    @Test("one port, from each kind of address to each other, and back", arguments: ["127.0.0.1", "0.0.0.0", "[::]", "[::1]"])
    func overlapping(first: String) async throws {
        let port = try reservePort()
        try await withDaemon(exporter("\(first):\(port)")) { it, _ in
            var before = first
            for host in ["127.0.0.1", "[::]", "0.0.0.0", "[::1]", first] where host != before {
                let kept = try RawConnection(to: Self.reachable(before, port))
                #expect(try await kept.get("/-/healthy").status == 200)
                try await it.reload(exporter("\(host):\(port)"))
                // The old connection's listener has moved: it ends, and not by a reset.
                try await wait(for: "the connection of \(before) to end") { try kept.isEnded }
                #expect(try await RawConnection(to: Self.reachable(host, port)).get("/-/healthy").status == 200, "\(before) to \(host)")
                before = host
            }
        }
    }

    @Test("[::]:P, then 0.0.0.0:P listed beside it, and back")
    func besideTheWildcard() async throws {
        let port = try reservePort()
        try await withDaemon(exporter("[::]:\(port)")) { it, _ in
            for (addresses, count) in [
                (["[::]:\(port)", "0.0.0.0:\(port)"], 2), (["[::]:\(port)"], 1), (["0.0.0.0:\(port)", "[::]:\(port)"], 2),
            ] {
                let listed = addresses.map { "\"\($0)\"" }.joined(separator: ", ")
                let kept = try RawConnection(to: "[::1]:\(port)")
                #expect(try await kept.get("/-/healthy").status == 200)
                try await it.reload("[exporter]\nworker_threads = 1\nscrape_expose_endpoint = [\(listed)]\n")
                // The kernel resets a connection that comes to the old socket in the moment in which it is closed.
                try await wait(for: "the old listener to close") { try kept.isEnded }
                #expect(await it.daemon.addresses.scrape.count == count)
                for host in ["127.0.0.1", "[::1]"] {
                    #expect(try await RawConnection(to: "\(host):\(port)").get("/-/healthy").status == 200)
                }
            }
        }
    }

    @Test("another program cannot take the port of a listener that has moved on")
    func foreign() async throws {
        let port = try reservePort()
        try await withDaemon(exporter("127.0.0.1:\(port)")) { it, _ in
            try await it.reload(exporter("0.0.0.0:\(port)"))
            // A second daemon stands for another process: it shares nothing with this one's listeners.
            let second = Daemon(try it.load(exporter("127.0.0.1:\(port)")), logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
            await #expect(throws: ConfigProblems.self) { try await second.start() }
        }
    }

    @Test("scrape side and receiver exchange their ports")
    func swap() async throws {
        try await withDaemon(exporter("127.0.0.1:0") + tcp("127.0.0.1:0")) { it, addresses in
            var (scrape, receiver) = (addresses.scrape[0], addresses.tcp ?? "")
            for _ in 0..<6 {
                (scrape, receiver) = (receiver, scrape)
                try await it.reload(exporter(scrape) + tcp(receiver))
                let push = try RawConnection(to: receiver)
                try push.send(#"{"app": "x 1"}"#)
                push.endOutput()
                #expect(try await push.receiveToEnd() == "")
                #expect(try await RawConnection(to: scrape).get("/metrics").body.hasPrefix("x 1\n"))
            }
        }
    }

    @Test("an address that is taken leaves everything as it was, also an exchange of ports")
    func busy() async throws {
        try await HTTPTarget.with { _ in
            []
        } _: { other in
            try await withDaemon(exporter("127.0.0.1:0") + tcp("127.0.0.1:0")) { it, addresses in
                let (scrape, receiver) = (addresses.scrape[0], addresses.tcp ?? "")
                let kept = try RawConnection(to: scrape)
                #expect(try await kept.get("/-/healthy").status == 200)
                let config = exporter(receiver, "127.0.0.1:\(other.port)") + tcp(scrape, "format = \"capnp\"")
                let problems = await #expect(throws: ConfigProblems.self) { try await it.reload(config) }
                #expect(
                    problems?.description.contains("error: exporter.scrape_expose_endpoint: cannot listen on 127.0.0.1:\(other.port)")
                        == true,
                    "\(String(describing: problems))")
                #expect(problems?.description.contains("address already in use") == true)

                #expect(await it.daemon.addresses == addresses)
                #expect(try await kept.get("/-/healthy").status == 200)
                let push = try RawConnection(to: receiver)
                try push.send(#"{"app": "x 1"}"#)
                push.endOutput()
                #expect(try await push.receiveToEnd() == "")
                // The next good one applies.
                try await it.reload(exporter(receiver) + tcp(scrape))
                #expect(try await RawConnection(to: receiver).get("/metrics").body.hasPrefix("x 1\n"))
            }
        }
    }

    @Test("a reload that fails closes the sockets that it has bound")
    func abandoned() async throws {
        let port = try reservePort()
        try await HTTPTarget.with { _ in
            []
        } _: { other in
            try await withDaemon(exporter("127.0.0.1:0")) { it, _ in
                let config = exporter("127.0.0.1:0", "127.0.0.1:\(port)", "127.0.0.1:\(other.port)")
                await #expect(throws: ConfigProblems.self) { try await it.reload(config) }
                // A program that another test is just starting may have the sockets for a moment.
                try await wait(for: "the port to be free") { isUnbound(port) }
            }
        }
    }

    @Test("a reload that fails elsewhere leaves the file of a running Unix socket in place")
    func socketFileStays() async throws {
        func unix(mode: String, _ more: String = "") -> String {
            exporter("127.0.0.1:0")
                + "[receiver]\nreceive_on_unix_socket = true\nreceiver_unix_socket = \"r.sock\"\nunix_socket_mode = \"\(mode)\"\n" + more
        }
        try await withDaemon(unix(mode: "0600")) { it, addresses in
            let path = addresses.unix ?? ""
            try it.folder.write("apps.state", "")
            let ofAnother = try SavedFile(it.folder.path("apps.state"))
            #expect(try ofAnother.lock())
            let config = unix(mode: "0660", "state_file = \"\(ofAnother.path)\"")
            let problems = await #expect(throws: ConfigProblems.self) { try await it.reload(config) }
            #expect(problems?.description.contains("another process uses it") == true, "\(String(describing: problems))")
            let push = try RawConnection(to: path)
            try push.send(#"{"app": "x 1"}"#)
            push.endOutput()
            #expect(try await push.receiveToEnd() == "")
        }
    }

    @Test("a connection open during a change of format finishes in the old one, a new one speaks the new one")
    func format() async throws {
        try await withDaemon(exporter("127.0.0.1:0") + tcp("127.0.0.1:0")) { it, addresses in
            let old = try RawConnection(to: addresses.tcp ?? "")
            try old.send(#"{"old": "x 1"} {"cut": "#)
            try await wait(for: "the old connection to be taken") {
                try await RawConnection(to: addresses.scrape[0]).get("/metrics?app=old").status == 200
            }
            try await it.reload(exporter("127.0.0.1:0") + tcp("127.0.0.1:0", "format = \"capnp\""))
            #expect(await it.daemon.addresses == addresses)
            let new = try RawConnection(to: addresses.tcp ?? "")
            try new.send(#"{"new": "x 1"}"#)
            #expect(try await new.receiveToEnd().hasPrefix("error: "))
            try old.send(#""x 2"} {"later": "x 3"}"#)
            old.endOutput()
            #expect(try await old.receiveToEnd() == "")
            #expect(try await RawConnection(to: addresses.scrape[0]).get("/metrics").body.hasPrefix("x 2\nx 3\nx 1\n"))
        }
    }

    @Test("both receivers go on and off; one that goes finishes the message in flight")
    func receiversOnAndOff() async throws {
        try await withDaemon(exporter("127.0.0.1:0")) { it, addresses in
            let unix = "receive_on_unix_socket = true\nreceiver_unix_socket = \"r.sock\""
            let port = try reservePort()
            try await it.reload(exporter("127.0.0.1:0") + tcp("127.0.0.1:\(port)", unix))
            let now = await it.daemon.addresses
            #expect(now.scrape == addresses.scrape)
            let pushes = try [RawConnection(to: now.tcp ?? ""), RawConnection(to: now.unix ?? "")]
            for (index, push) in pushes.enumerated() { try push.send("{\"begun\(index)\": \"x 1\"} {\"cut\(index)\": ") }
            for index in 0..<2 {
                try await wait(for: "push \(index)") {
                    try await RawConnection(to: addresses.scrape[0]).get("/metrics?app=begun\(index)").status == 200
                }
            }
            try await it.reload(exporter("127.0.0.1:0"))
            #expect(await it.daemon.addresses == addresses)
            #expect(!it.folder.contains("r.sock"))
            try await wait(for: "the TCP port to be closed") { (try? RawConnection(to: now.tcp ?? "")) == nil }
            for push in pushes {
                try push.send(#""x 2"}"#)
                #expect(try await push.receiveToEnd() == "")
            }
            #expect(try await RawConnection(to: addresses.scrape[0]).get("/apps?format=json").body.contains("cut1"))
        }
    }

    @Test("a Unix socket's mode changes in place, its path by a new socket; no connection is refused meanwhile")
    func unixSocket() async throws {
        func config(_ path: String, _ mode: String) -> String {
            exporter("127.0.0.1:0")
                + "[receiver]\nreceive_on_unix_socket = true\nreceiver_unix_socket = \"\(path)\"\nunix_socket_mode = \"\(mode)\"\n"
        }
        try await withDaemon(config("a.sock", "0660")) { it, _ in
            // Another name of the same place.
            try FileManager.default.createSymbolicLink(atPath: it.folder.path("link"), withDestinationPath: ".")
            for (path, mode) in [("a.sock", "0600"), ("a.sock", "0666"), ("b.sock", "0666"), ("a.sock", "0660"), ("link/a.sock", "0660")] {
                let old = try RawConnection(to: await it.daemon.addresses.unix ?? "")
                try old.send("{")
                try await it.reload(config(path, mode))
                #expect(await it.daemon.addresses.unix == it.folder.path(path))
                #expect(it.folder.mode(of: path) == UInt16(mode, radix: 8))
                let new = try RawConnection(to: it.folder.path(path))
                try new.send("{")
                for push in [old, new] {
                    try push.send(#""app": "x 1"}"#)
                    push.endOutput()
                    #expect(try await push.receiveToEnd() == "")
                }
                try await wait(for: "the other file to go") { !it.folder.contains(path == "b.sock" ? "a.sock" : "b.sock") }
            }
        }
    }

    @Test("a file that is not a socket stays, and so does the old socket")
    func unixSocketInTheWay() async throws {
        func config(_ path: String) -> String {
            exporter("127.0.0.1:0") + "[receiver]\nreceive_on_unix_socket = true\nreceiver_unix_socket = \"\(path)\"\n"
        }
        try await withDaemon(config("a.sock")) { it, addresses in
            try it.folder.write("precious", "do not lose me")
            await #expect(throws: ConfigProblems.self) { try await it.reload(config("precious")) }
            #expect(await it.daemon.addresses == addresses)
            let push = try RawConnection(to: addresses.unix ?? "")
            try push.send(#"{"app": "x 1"}"#)
            push.endOutput()
            #expect(try await push.receiveToEnd() == "")
        }
    }

    @Test(
        "a TCP receiver that goes over to TLS ends the connections made before, also when it moves; those of the Unix socket stay",
        arguments: ["127.0.0.1:0", "127.0.0.2:0"])
    func receiverAccess(to address: String) async throws {
        let unix = "receive_on_unix_socket = true\nreceiver_unix_socket = \"r.sock\"\nidle_timeout = 600"
        try await withDaemon(exporter("127.0.0.1:0") + tcp("127.0.0.1:0", unix)) { it, addresses in
            let certificate = try ThrowawayCA().serverCertificate()
            try it.folder.write("cert.pem", certificate.chainPEM)
            try it.folder.write("key.pem", certificate.privateKeyPEM, mode: 0o600)
            let connections = try [addresses.tcp, addresses.tcp, addresses.tcp, addresses.unix].map { try RawConnection(to: $0 ?? "") }
            for (index, connection) in connections.enumerated() { try connection.send("{\"begun\(index)\": \"x 1\"} ") }
            for index in 1...2 { try connections[index].send("{\"cut\(index)\": ") }
            for index in connections.indices {
                try await wait(for: "connection \(index)") {
                    try await RawConnection(to: addresses.scrape[0]).get("/metrics?app=begun\(index)").status == 200
                }
            }
            let tls = "tls = \"required\"\n[receiver.tls_server_config]\ncert_file = \"cert.pem\"\nkey_file = \"key.pem\""
            try await it.reload(exporter("127.0.0.1:0") + tcp(address, "\(unix)\n\(tls)"))
            try await wait(for: "the idle connection to end") { try connections[0].isEnded }
            try connections[1].send(#""x 1"}"#)
            #expect(try await connections[1].receiveToEnd() == "")
            try connections[2].send(#""x 1"} {"second": "x 1"}"#)
            #expect(try await connections[2].receiveToEnd() == "error: \(Rejection.accessChanged.line)\n")
            try connections[3].send(#"{"later": "x 1"}"#)
            connections[3].endOutput()
            #expect(try await connections[3].receiveToEnd() == "")
            let apps = try await RawConnection(to: addresses.scrape[0]).get("/apps?format=json").body
            for name in ["cut1", "cut2", "later"] { #expect(apps.contains("\"\(name)\""), "\(apps)") }
            #expect(!apps.contains("\"second\""), "\(apps)")
            // A new one without TLS is refused.
            let plain = try RawConnection(to: await it.daemon.addresses.tcp ?? "")
            try plain.send(#"{"plain": "x 1"}"#)
            plain.endOutput()
            #expect(try await plain.receiveToEnd().hasPrefix("error: "))
        }
    }

    @Test("limits take effect for what comes from then on")
    func limits() async throws {
        let before = exporter("127.0.0.1:0", more: "max_connections = 1") + tcp("127.0.0.1:0", "max_apps = 1\nmax_message_size = 30")
        try await withDaemon(before) { it, addresses in
            func push(_ text: String) async throws -> String {
                let push = try RawConnection(to: addresses.tcp ?? "")
                try push.send(text)
                push.endOutput()
                return try await push.receiveToEnd()
            }
            #expect(try await push(#"{"a": "x 1"}"#) == "")
            #expect(try await push(#"{"b": "x 1"}"#).hasPrefix("error: "))
            #expect(try await push(#"{"a": "x 1 and more than thirty bytes of it"}"#).hasPrefix("error: "))
            let only = try RawConnection(to: addresses.scrape[0])
            #expect(try await only.get("/-/healthy").status == 200)
            #expect(try await RawConnection(to: addresses.scrape[0]).receiveToEnd() == "")
            try await it.reload(exporter("127.0.0.1:0", more: "max_connections = 2") + tcp("127.0.0.1:0", "max_apps = 2"))
            #expect(try await push(#"{"b": "x 1 and more than thirty bytes of it"}"#) == "")
            #expect(try await RawConnection(to: addresses.scrape[0]).get("/-/healthy").status == 200)
            #expect(try await only.get("/-/healthy").status == 200)
        }
    }

    @Test("worker_threads is said to need a restart, each time, until it is as it runs")
    func workerThreads() async throws {
        try await withDaemon(exporter("127.0.0.1:0")) { it, _ in
            let other = exporter("127.0.0.1:0").replacing("worker_threads = 1", with: "worker_threads = 2")
            for _ in 0..<2 {
                let plan = try await it.reload(other)
                #expect(plan.isEmpty && plan.needsRestart == ["exporter.worker_threads"])
            }
            #expect(try await it.reload(exporter("127.0.0.1:0")).needsRestart == [])
        }
    }

    @Test("the number of cores is the default of worker_threads: to name it is no difference")
    func defaultOfWorkerThreads() async throws {
        let config = exporter("127.0.0.1:0").replacing("worker_threads = 1\n", with: "")
        try await withDaemon(config) { it, _ in
            let named = config.replacing("[exporter]", with: "[exporter]\nworker_threads = \(AvailableCores.count())")
            for text in [named, config] {
                let plan = try await it.reload(text)
                #expect(plan.needsRestart == [])
            }
        }
    }

    @Test("once ready it stays ready, whatever target a reload adds")
    func readiness() async throws {
        try await withDaemon(exporter("127.0.0.1:0")) { it, addresses in
            // Answers nothing: its first poll takes until the timeout.
            try await HTTPTarget.with { _ in
                []
            } _: { slow in
                let targets = """
                    [poll_external]
                    poll_other_scrape_endpoints = true
                    other_scrape_endpoints = ["http://127.0.0.1:\(slow.port)/"]
                    poll_interval = 60
                    client_timeout = 50
                    """
                try await it.reload(exporter("127.0.0.1:0") + targets)
                try await wait(for: "the first poll to begin") { !slow.requests.isEmpty }
                #expect(try await RawConnection(to: addresses.scrape[0]).get("/-/ready").status == 200)
            }
        }
    }

    @Test("the budgets of memory are those of the configuration, from the start and after a reload")
    func budgets() async throws {
        func config(_ size: String) -> String {
            exporter("127.0.0.1:0", more: "max_held_size = \"\(size)\"") + tcp("127.0.0.1:0", "max_inflight_size = \"\(size)\"")
                + "[poll_external]\nmax_inflight_size = \"\(size)\"\n"
        }
        try await withDaemon(config("300MiB")) { it, _ in
            let held = await it.daemon.metrics.held
            for kind in [HeldBytes.Kind.pushing, .polling, .answering] { #expect(held[kind].limit == .mebibytes(300), "\(kind)") }
            try await it.reload(config("200MiB"))
            for kind in [HeldBytes.Kind.pushing, .polling, .answering] { #expect(held[kind].limit == .mebibytes(200), "\(kind)") }
        }
    }

    @Test("the metrics tell of the certificate that a reload has brought to a listener, and of none when it is gone")
    func certificateInMetrics() async throws {
        let certificate = try ThrowawayCA().serverCertificate()
        let tls = "tls = \"required\"\n[receiver.tls_server_config]\ncert_file = \"cert.pem\"\nkey_file = \"key.pem\""
        try await withDaemon(exporter("127.0.0.1:0") + tcp("127.0.0.1:0")) { it, addresses in
            try it.folder.write("cert.pem", certificate.chainPEM)
            try it.folder.write("key.pem", certificate.privateKeyPEM, mode: 0o600)
            func listenersWithCertificate() async -> Int {
                await it.daemon.metrics.currentListeners.count { $0.certificateNotAfter != nil }
            }
            #expect(await listenersWithCertificate() == 0)
            try await it.reload(exporter("127.0.0.1:0") + tcp("127.0.0.1:0", tls))
            #expect(await it.daemon.addresses == addresses)
            #expect(await listenersWithCertificate() == 1)
            try await it.reload(exporter("127.0.0.1:0") + tcp("127.0.0.1:0"))
            #expect(await listenersWithCertificate() == 0)
        }
    }

    @Test("the certificate in the metrics of a running listener is still its own after a reload that failed")
    func certificateAfterAFailure() async throws {
        let certificate = try ThrowawayCA().serverCertificate()
        let port = try reservePort()
        let tls = "[exporter.tls_server_config]\ncert_file = \"cert.pem\"\nkey_file = \"key.pem\""
        try await HTTPTarget.with { _ in
            []
        } _: { taken in
            try await withDaemon(exporter("127.0.0.1:0")) { it, _ in
                try it.folder.write("cert.pem", certificate.chainPEM)
                try it.folder.write("key.pem", certificate.privateKeyPEM, mode: 0o600)
                try await it.reload(exporter("[::]:\(port)", more: tls))
                func certificateEnd() async -> Int64? {
                    await it.daemon.metrics.currentListeners.first { $0.name == "[::]:\(port)" }?.certificateNotAfter
                }
                let shown = try #require(await certificateEnd())
                // Beside 0.0.0.0 it is another listener of the same name, which leaves IPv4 to it.
                let refused = exporter("[::]:\(port)", "0.0.0.0:\(port)", "127.0.0.1:\(taken.port)")
                await #expect(throws: ConfigProblems.self) { try await it.reload(refused) }
                #expect(await certificateEnd() == shown)
            }
        }
    }

    @Test("the daemon logs the warnings of certificates at the start alone: those of a reload are left to the reloader and its limit")
    func certificateWarnings() async throws {
        let certificate = try ThrowawayCA().serverCertificate(validity: .expired)
        try await withTemporaryFolder { folder in
            let certificateFile = try folder.write("cert.pem", certificate.chainPEM)
            let keyFile = try folder.write("key.pem", certificate.privateKeyPEM, mode: 0o600)
            let tls = "[exporter.tls_server_config]\ncert_file = \"\(certificateFile)\"\nkey_file = \"\(keyFile)\"\n"
            let log = LogLines()
            try await withDaemon(exporter("127.0.0.1:0") + tls, logger: log.logger) { it, _ in
                for _ in 1...3 {
                    let plan = try await it.reload(exporter("127.0.0.1:0") + tls)
                    #expect(plan.isEmpty)
                }
            }
            #expect(log.all.filter { $0.contains("has expired on ") }.count == 1, "\(log.all)")
        }
    }

    @Test("the state file's path may change to another name of the same file, and to where the file was moved")
    func statePath() async throws {
        func config(_ path: String) -> String {
            exporter("127.0.0.1:0")
                + "[receiver]\nreceive_on_unix_socket = true\nreceiver_unix_socket = \"r.sock\"\nstate_file = \"\(path)\"\n"
        }
        try await withTemporaryFolder { folder in
            for name in ["first", "second"] { try #require(mkdir(folder.path(name), 0o700) == 0) }
            try #require(symlink("first", folder.path("link")) == 0)
            try await withDaemon(config(folder.path("link/apps.state"))) { it, addresses in
                try await it.reload(config(folder.path("first/apps.state")))
                try #require(unlink(folder.path("link")) == 0)
                try #require(rename(folder.path("first/apps.state"), folder.path("second/apps.state")) == 0)
                try await it.reload(config(folder.path("second/apps.state")))
                let push = try RawConnection(to: addresses.unix ?? "")
                try push.send(#"{"app": "x 1"}"#)
                push.endOutput()
                #expect(try await push.receiveToEnd() == "")
            }
            let saved = try SavedFile(folder.path("second/apps.state"))
            #expect(try saved.lock())
            var names: [String] = []
            let now = SavedApps.Writing(moment: SystemClock.now(), boot: "")
            _ = try saved.read(at: now) { names.append($0.name.description) }
            #expect(names == ["app"])
        }
    }

    @Test("a TLS receiver that is switched off finishes the message in flight: its rules of access have not changed")
    func tlsReceiverOff() async throws {
        let authority = try ThrowawayCA()
        let certificate = try authority.serverCertificate()
        let tls = "tls = \"required\"\n[receiver.tls_server_config]\ncert_file = \"cert.pem\"\nkey_file = \"key.pem\""
        try await withDaemon(exporter("127.0.0.1:0")) { it, _ in
            try it.folder.write("cert.pem", certificate.chainPEM)
            try it.folder.write("key.pem", certificate.privateKeyPEM, mode: 0o600)
            try await it.reload(exporter("127.0.0.1:0") + tcp("127.0.0.1:0", tls))
            let plan = try await it.reload(exporter("127.0.0.1:0") + tcp("127.0.0.1:0", tls).replacing("= true", with: "= false"))
            #expect(!plan.changesTCPAccess && !plan.changesHTTPAccess)
            #expect(plan.changes.filter { $0.contains("tls") } == [])
        }
    }

    @Test("a stop cuts, after its own shutdown_timeout, what a listener that a reload has closed has not finished")
    func stopDuringADrain() async throws {
        let lines = LogLines()
        var push: RawConnection?
        try await withDaemon(exporter("127.0.0.1:0") + tcp("127.0.0.1:0"), logger: lines.logger) { it, addresses in
            push = try RawConnection(to: addresses.tcp ?? "")
            try push?.send(#"{"begun": "x 1"} {"cut": "#)
            try await wait(for: "the push") {
                try await RawConnection(to: addresses.scrape[0]).get("/metrics?app=begun").status == 200
            }
            try await it.reload(exporter("127.0.0.1:0"))
            try await it.reload(exporter("127.0.0.1:0").replacing("shutdown_timeout = 600", with: "shutdown_timeout = 1"))
            #expect(try push?.isEnded == false)
        }
        #expect(lines.all.contains("warning connections closed unfinished after shutdown_timeout count=1"))
        #expect(try await push?.receiveToEnd() == "error: \(Rejection.timedOut(.closing).line)\n")
    }

    private static func reachable(_ host: String, _ port: UInt16) -> String {
        switch host {
        case "0.0.0.0": "127.0.0.1:\(port)"
        case "[::]": "[::1]:\(port)"
        default: "\(host):\(port)"
        }
    }
}
