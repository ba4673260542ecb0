import Foundation
import Testing

@testable import Proxy

@Suite struct ConfigDecoderFixtureTests {
    static let folder = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "Fixtures")

    static func names(_ suffix: String) throws -> [String] {
        try FileManager.default.contentsOfDirectory(atPath: folder.path).filter { $0.hasSuffix(suffix) }.sorted()
    }

    static func contents(_ name: String) throws -> [UInt8] { [UInt8](try Data(contentsOf: folder.appending(path: name))) }

    private func decode(_ name: String) throws(ConfigProblems) -> LoadedConfig {
        let text = (try? Self.contents(name)) ?? []
        return try ConfigDecoder(file: name, folder: "/etc/exporter-proxy").decode(FileReading(bytes: text))
    }

    @Test("good files decode without a warning", arguments: try names(".good.toml"))
    func good(name: String) throws {
        #expect(try decode(name).warnings.isEmpty)
    }

    @Test("bad files give exactly the problems beside them", arguments: try names(".bad.toml"))
    func bad(name: String) throws {
        let expected = String(decoding: try Self.contents(name.replacing(".bad.toml", with: ".bad.expected")), as: UTF8.self)
        do {
            _ = try decode(name)
            Issue.record("\(name) was accepted")
        } catch {
            #expect(error.description + "\n" == expected)
            #expect(error.description.range(of: "secret|sec/ret|[ :,]ret", options: .regularExpression) == nil, "a secret is shown")
            if ProcessInfo.processInfo.environment["RECORD"] != nil {
                try Data((error.description + "\n").utf8).write(
                    to: Self.folder.appending(path: name.replacing(".bad.toml", with: ".bad.expected")))
            }
        }
    }

    @Test("an octal number without quotes, which TOML refuses, is answered with key and remedy")
    func octalMode() {
        let text = Array("[receiver]\nunix_socket_mode = 0660\n".utf8)
        let error = #expect(throws: ConfigProblems.self) {
            try ConfigDecoder(file: "config.toml", folder: "").decode(FileReading(bytes: text))
        }
        #expect(error?.problems.map(\.key) == ["receiver.unix_socket_mode"])
        #expect(error?.description.hasSuffix("in quotes, such as \"0660\"") == true, "\(error?.description ?? "")")
    }

    @Test("a sign is no octal digit", arguments: ["-000", "+660", "-00"])
    func signedMode(mode: String) {
        let text = Array("[receiver]\nunix_socket_mode = \"\(mode)\"\n".utf8)
        let error = #expect(throws: ConfigProblems.self) {
            try ConfigDecoder(file: "config.toml", folder: "").decode(FileReading(bytes: text))
        }
        #expect(error?.description.hasSuffix("not the string \"\(mode)\"") == true, "\(error?.description ?? "")")
    }

    @Test("a target's metrics expire after five of its own intervals, and not before a minute")
    func expiryOfTargets() throws {
        let text = """
            [poll_external]
            poll_other_scrape_endpoints = true
            targets = [
                { url = "http://a/" },
                { url = "http://b/", poll_interval = "1m" },
                { url = "http://c/", poll_interval = "1m", expire_after = "10s" },
                { url = "http://d/", expire_after = 0 },
            ]
            """
        let decoded = try ConfigDecoder(file: "config.toml", folder: "").decode(FileReading(bytes: Array(text.utf8)))
        #expect(decoded.config.poll.targets.map(\.expireAfter) == [.seconds(60), .seconds(300), .seconds(10), nil])
    }

    @Test("there are fixtures of both kinds")
    func fixtures() throws {
        #expect(try Self.names(".good.toml").count >= 3)
        #expect(try Self.names(".bad.toml").count >= 10)
    }
}
