import Glibc
import NIOCore
import Proxy
import TestSupport
import Testing

@testable import Services

@Suite("Start check")
struct StartCheckTests {
    /// Reads and checks `text`.
    private func check(_ text: String, in folder: TemporaryFolder) throws -> [ConfigProblem] {
        try folder.write("config.toml", text)
        return ConfigLoader(file: folder.path("config.toml")).check()
    }

    /// Runs `body` while another program listens on 127.0.0.1.
    private func withListeningPython(in folder: TemporaryFolder, _ body: (_ port: UInt16) throws -> Void) async throws {
        let script = """
            import signal, socket
            s = socket.socket()
            s.bind(("127.0.0.1", 0))
            s.listen()
            print(s.getsockname()[1], flush=True)
            signal.pause()
            """
        let python = try RunningProgram("python3", ["-c", script], folder: folder)
        do {
            try await wait(for: "python to listen") { python.outputBytes.last == UInt8(ascii: "\n") }
            try body(try #require(UInt16(String(decoding: python.outputBytes.dropLast(), as: UTF8.self))))
        } catch {
            await python.end()
            throw error
        }
        await python.end()
    }

    @Test("an address that the machine lacks is an error at its place")
    func foreignAddress() async throws {
        try await withTemporaryFolder { folder in
            let problems = try check("[exporter]\nscrape_expose_endpoint = [\"127.0.0.1:0\", \"192.0.2.1:0\"]\n", in: folder)
            #expect(problems.map(\.severity) == [.error])
            #expect(problems.first?.position == ConfigPosition(line: 2, column: 42), "\(problems)")
        }
    }

    @Test("an address that the machine lacks is no error while the running program listens there, as with FreeBind= of a socket unit")
    func foreignAddressInUse() async throws {
        try await withTemporaryFolder { folder in
            let port = try reservePort()
            let descriptor = socket(AF_INET, CInt(SOCK_STREAM.rawValue) | CInt(SOCK_CLOEXEC.rawValue), 0)
            defer { close(descriptor) }
            // IP_FREEBIND (ip(7)). The check runs in this process, which therefore stands for the running exporter-proxy.
            var isFree: CInt = 1
            try #require(setsockopt(descriptor, CInt(IPPROTO_IP), 15, &isFree, socklen_t(MemoryLayout<CInt>.size)) == 0)
            let address = try SocketAddress(ipAddress: "192.0.2.7", port: Int(port))
            let result = address.withSockAddr { Glibc.bind(descriptor, $0, socklen_t($1)) }
            try #require(result == 0 && listen(descriptor, 1) == 0)
            let used = try check("[exporter]\nscrape_expose_endpoint = \"192.0.2.7:\(port)\"\n", in: folder)
            #expect(used == [])
            let other = try check("[exporter]\nscrape_expose_endpoint = \"192.0.2.8:\(port)\"\n", in: folder)
            #expect(other.map(\.severity) == [.error], "\(other)")
        }
    }

    @Test("an address that this user may not bind is served by a socket at this very address, and 0.0.0.0 by one at [::] too")
    func served() throws {
        let cases: [(host: String, serves: [String], others: [String])] = [
            ("127.0.0.1", ["127.0.0.1"], ["127.0.0.2", "0.0.0.0", "::"]),
            ("0.0.0.0", ["0.0.0.0"], ["127.0.0.1", "::"]),
            ("::", ["::", "0.0.0.0"], ["127.0.0.1", "::1"]),
        ]
        for (host, serves, others) in cases {
            let port = try reservePort()
            let socket = try BoundTCPSocket.bind(ListenAddress(host: host, port: port), v6Only: false, sharesPort: false)
            defer { close(socket.descriptor) }
            try #require(listen(socket.descriptor, 1) == 0)
            for other in serves + others {
                let isFound = PortHolder.find(ListenAddress(host: other, port: port), isServed: true) == .exporterProxy
                #expect(isFound == serves.contains(other), "\(host), \(other)")
            }
        }
    }

    @Test("a port that another process listens on is an error that names it; the check itself listens on nothing")
    func portInUse() async throws {
        try await withTemporaryFolder { folder in
            try await withListeningPython(in: folder) { port in
                let problems = try check("[exporter]\nscrape_expose_endpoint = \"127.0.0.1:\(port)\"\n", in: folder)
                #expect(problems.map(\.severity) == [.error])
                #expect(problems.first?.message.contains("in use by python3") == true, "\(problems)")
            }
        }
    }

    @Test("of two programs with one port, the one at the address in question counts")
    func otherAddress() async throws {
        try await withTemporaryFolder { folder in
            try await withListeningPython(in: folder) { port in
                // The check runs in this process, which therefore stands for the running exporter-proxy.
                let own = try BoundTCPSocket.bind(ListenAddress(host: "127.0.0.2", port: port), v6Only: false, sharesPort: false)
                defer { close(own.descriptor) }
                try #require(listen(own.descriptor, 1) == 0)
                let ofPython = try check("[exporter]\nscrape_expose_endpoint = \"127.0.0.1:\(port)\"\n", in: folder)
                #expect(ofPython.first?.message.contains("in use by python3") == true, "\(ofPython)")
                let ofThis = try check("[exporter]\nscrape_expose_endpoint = \"127.0.0.2:\(port)\"\n", in: folder)
                #expect(ofThis == [])
            }
        }
    }

    @Test("a socket is in the way of the addresses that it covers, and of those that cover it")
    func overlaps() throws {
        let cases: [(host: String, inTheWayOf: [String], others: [String])] = [
            ("127.0.0.1", ["127.0.0.1", "0.0.0.0", "::", "::ffff:127.0.0.1"], ["127.0.0.2", "::1"]),
            ("0.0.0.0", ["127.0.0.1", "0.0.0.0", "::"], ["::1"]),
            ("::1", ["::1", "::"], ["127.0.0.1", "0.0.0.0"]),
            ("::", ["127.0.0.1", "0.0.0.0", "::1", "::"], []),
        ]
        for (host, inTheWayOf, others) in cases {
            let port = try reservePort()
            let socket = try BoundTCPSocket.bind(ListenAddress(host: host, port: port), v6Only: false, sharesPort: false)
            defer { close(socket.descriptor) }
            try #require(listen(socket.descriptor, 1) == 0)
            for other in inTheWayOf {
                #expect(PortHolder.find(ListenAddress(host: other, port: port)) == .exporterProxy, "\(host), \(other)")
            }
            for other in others { #expect(PortHolder.find(ListenAddress(host: other, port: port)) == nil, "\(host), \(other)") }
            let leavingIPv4 = PortHolder.find(ListenAddress(host: "::", port: port), leavesIPv4: true)
            #expect((leavingIPv4 == nil) == !host.contains(":"), "\(host)")
        }
    }

    @Test("a folder in which this user may not make the socket is an error", .enabled(if: geteuid() != 0, "root may make it everywhere"))
    func folder() async throws {
        try await withTemporaryFolder { folder in
            try folder.write("closed/file", "")
            #expect(chmod(folder.path("closed"), 0o500) == 0)
            // A file cannot be removed from a folder without write permission.
            defer { chmod(folder.path("closed"), 0o700) }
            let problems = try check(
                "[exporter]\nscrape_expose_endpoint = \"127.0.0.1:0\"\n[receiver]\nreceive_on_unix_socket = true\nreceiver_unix_socket = \"closed/r.sock\"\n",
                in: folder)
            #expect(problems.map(\.severity) == [.error])
            #expect(problems.first?.position?.line == 5, "\(problems)")
        }
    }
}
