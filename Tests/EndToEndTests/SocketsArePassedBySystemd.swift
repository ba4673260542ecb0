import Foundation
import TestSupport
import Testing

@Test("sockets that are passed are used and outlive the program; the service manager is told of each state")
func socketsArePassed() async throws {
    try await withTemporaryFolder { folder in
        let script = "\(checkout)/Tests/EndToEndTests/Support/activation.py"
        let result = try await run(Tools.python, [script, ProxyProcess.executable, folder.path], workingFolder: folder.path)
        let log = (try? String(contentsOfFile: folder.path("log"), encoding: .utf8)) ?? ""
        #expect(result.output == "all is well\n", "\(result.errors)\n\(log)")
    }
}

@Test("it runs below systemd-socket-activate", .enabled(if: Tools.socketActivate != nil, "needs systemd-socket-activate"))
func socketActivateStartsIt() async throws {
    try await withTemporaryFolder { folder in
        let port = try reservePort()
        try folder.write("config.toml", "[exporter]\nworker_threads = 0\nscrape_expose_endpoint = \"127.0.0.1:\(port)\"\n")
        let arguments = ["--listen=127.0.0.1:\(port)", ProxyProcess.executable, "--config", folder.path("config.toml")]
        let program = try RunningProgram(Tools.socketActivate ?? "", arguments, folder: folder)
        // The first connection starts the program, and waits for it.
        let answer = try await wait(for: "the answer") { try? await curl("http://127.0.0.1:\(port)/-/healthy") }
        #expect(answer.status == 200)
        program.send(signal: SIGTERM)
        #expect(try await program.exit().status == .exited(0))
    }
}
