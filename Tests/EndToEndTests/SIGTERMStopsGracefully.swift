import Foundation
import TestSupport
import Testing

@Test("SIGTERM and SIGINT end it with exit 0, and the socket file is gone", arguments: [SIGTERM, SIGINT])
func signalsStopGracefully(signal: Int32) async throws {
    try await withProxy(Configurations.scrape + Configurations.receivers()) { proxy in
        #expect(proxy.folder.contains("receiver.sock"))
        proxy.program.send(signal: signal)
        let result = try await proxy.program.exit()
        #expect(result.status == .exited(0), "\(result.errors)")
        #expect(!proxy.folder.contains("receiver.sock"))
    }
}

@Test("a push that has begun is finished after SIGTERM, and applied")
func aPushInFlightIsFinished() async throws {
    let config = Configurations.scrape + "shutdown_timeout = \"60s\"\n" + Configurations.receivers()
    try await withProxy(config) { proxy in
        let script = """
            printf '{"first": "x 1"} {"cut": '
            while [ ! -e go ]; do sleep 0.05; done
            printf '"x 1"}'
            """
        try await withProgram(
            "sh", ["-c", "(\(script)) | \(Tools.netcat) -N -U \(proxy.unixSocket ?? "")"], workingFolder: proxy.folder.path
        ) { sender in
            try await wait(for: "the first object") { try await curl("http://\(proxy.scrape)/metrics?app=first").status == 200 }
            proxy.program.send(signal: SIGTERM)
            try await wait(for: "the scrape listener to close") { try await runCurl(["http://\(proxy.scrape)/"]).status == .exited(7) }
            #expect(proxy.program.exitStatus == nil, "it waits for the push")
            try proxy.folder.write("go", "")
            let sent = try await sender.exit()
            #expect(sent.output == "")
            #expect(try await proxy.program.exit().status == .exited(0))
        }
    }
}

@Test("a push that never ends does not hold a stop longer than shutdown_timeout, and its sender is told that it was not applied")
func aStopIsBounded() async throws {
    let config = Configurations.scrape + "shutdown_timeout = \"300ms\"\n" + Configurations.receivers()
    try await withProxy(config) { proxy in
        let script = "(printf '{\"first\": \"x 1\"} {\"a\": \"'; exec sleep 600) | \(Tools.netcat) -U \(proxy.unixSocket ?? "")"
        try await withProgram("sh", ["-c", script]) { sender in
            try await wait(for: "the first object") { try await curl("http://\(proxy.scrape)/metrics?app=first").status == 200 }
            proxy.program.send(signal: SIGTERM)
            #expect(try await proxy.program.exit(within: .seconds(20)).status == .exited(0))
            #expect(!proxy.folder.contains("receiver.sock"))
            let reason = "error: the receiver closes, and the message is not complete"
            try await wait(for: "the reason") { String(decoding: sender.outputBytes, as: UTF8.self).hasPrefix(reason) }
        }
    }
}
