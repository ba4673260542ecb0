import Glibc
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

    @Test("an address that the machine lacks is an error at its place")
    func foreignAddress() async throws {
        try await withTemporaryFolder { folder in
            let problems = try check("[exporter]\nscrape_expose_endpoint = [\"127.0.0.1:0\", \"192.0.2.1:0\"]\n", in: folder)
            #expect(problems.map(\.severity) == [.error])
            #expect(problems.first?.position == ConfigPosition(line: 2, column: 42), "\(problems)")
        }
    }

    @Test("a port that another process listens on is an error that names it; the check itself listens on nothing")
    func portInUse() async throws {
        try await withTemporaryFolder { folder in
            let script = """
                import socket, time
                s = socket.socket()
                s.bind(("127.0.0.1", 0))
                s.listen()
                print(s.getsockname()[1], flush=True)
                time.sleep(600)
                """
            let python = try RunningProgram("python3", ["-c", script], folder: folder)
            try await wait(for: "python to listen") { python.outputBytes.last == UInt8(ascii: "\n") }
            let port = String(decoding: python.outputBytes.dropLast(), as: UTF8.self)
            let problems = try check("[exporter]\nscrape_expose_endpoint = \"127.0.0.1:\(port)\"\n", in: folder)
            await python.end()
            #expect(problems.map(\.severity) == [.error])
            #expect(problems.first?.message.contains("in use by python3") == true, "\(problems)")
        }
    }

    @Test("a folder in which this user may not make the socket is an error", .enabled(if: geteuid() != 0))
    func folder() async throws {
        try await withTemporaryFolder { folder in
            try folder.write("closed/file", "")
            #expect(chmod(folder.path("closed"), 0o500) == 0)
            let problems = try check(
                "[exporter]\nscrape_expose_endpoint = \"127.0.0.1:0\"\n[receiver]\nreceive_on_unix_socket = true\nreceiver_unix_socket = \"closed/r.sock\"\n",
                in: folder)
            #expect(problems.map(\.severity) == [.error])
            #expect(problems.first?.position?.line == 5, "\(problems)")
        }
    }
}
