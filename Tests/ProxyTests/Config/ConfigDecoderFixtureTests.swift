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

    private func warnings(_ text: String) throws -> [String] {
        try ConfigDecoder(file: "config.toml", folder: "").decode(FileReading(bytes: Array(text.utf8))).warnings.map(\.description)
    }

    @Test("metrics that expire before the next poll are warned about at the key that makes them, and not without need")
    func expiryWithinAnInterval() throws {
        let own = "[[poll_external.targets]]\nurl = \"http://a/metrics\"\n"
        #expect(
            try warnings("[poll_external]\nexpire_after = \"4s\"\n\(own)poll_interval = \"4s\"\n") == [
                "config.toml:2:16: warning: poll_external: expire_after 4s is not longer than poll_interval 5s, so that metrics expire "
                    + "before the next poll; write a longer one, or 0 for never",
                "config.toml:5:17: warning: poll_external.targets[0]: expire_after 4s is not longer than poll_interval 4s, so that metrics "
                    + "expire before the next poll; write a longer one, or 0 for never",
            ])
        let general = "[poll_external]\nexpire_after = \"1m\"\n\(own)"
        #expect(try warnings(general).isEmpty)
        #expect(try warnings(general + "poll_interval = \"59s\"\n").isEmpty)
        #expect(try warnings(general + "poll_interval = \"5m\"\n").map { $0.prefix(17) } == ["config.toml:5:17:"])
        #expect(try warnings(general + "poll_interval = \"5m\"\nexpire_after = \"5m\"\n").map { $0.prefix(17) } == ["config.toml:6:16:"])
        #expect(try warnings(general + "poll_interval = \"5m\"\nexpire_after = 0\n").isEmpty)
        #expect(try warnings("[poll_external]\npoll_interval = \"5m\"\n\(own)").isEmpty)
    }

    @Test("a size that is larger than the memory for all is warned about at the key that makes it so, and not without need")
    func sizesBeyondTheMemory() throws {
        #expect(
            try warnings("[receiver]\nmax_inflight_size = \"1MiB\"\n") == [
                "config.toml:2:21: warning: receiver: max_message_size 16MiB is larger than max_inflight_size 1MiB, so that messages "
                    + "between the two sizes are refused; raise max_inflight_size, or lower max_message_size"
            ])
        let small = "[receiver]\nmax_inflight_size = \"1MiB\"\nmax_message_size = "
        #expect(try warnings(small + "\"1MiB\"\n").isEmpty)
        #expect(try warnings(small + "1048577\n").map { $0.prefix(17) } == ["config.toml:3:20:"])
        #expect(try warnings("[receiver]\nmax_message_size = \"256MiB\"\n").isEmpty)
        #expect(try warnings("[receiver]\nmax_message_size = \"1GiB\"\n").map { $0.prefix(17) } == ["config.toml:2:20:"])

        let target = "[[poll_external.targets]]\nurl = \"http://a/metrics\"\n"
        let general = "[poll_external]\nmax_inflight_size = \"64MiB\"\n\(target)"
        #expect(try warnings(general).isEmpty)
        #expect(try warnings(general + "body_size_limit = \"64MiB\"\n").isEmpty)
        #expect(
            try warnings(general + "body_size_limit = \"65MiB\"\n") == [
                "config.toml:5:19: warning: poll_external.targets[0]: body_size_limit 65MiB is larger than poll_external.max_inflight_size "
                    + "64MiB, so that polls of bodies between the two sizes fail; raise max_inflight_size, or lower body_size_limit"
            ])
        // The general limit is blamed once, not again for each target that inherits it.
        let lower = general.replacing("64MiB", with: "63MiB")
        #expect(try warnings(lower).map { $0.prefix(17) } == ["config.toml:2:21:"])
        // Nothing uses it.
        #expect(try warnings(lower + "body_size_limit = \"1MiB\"\n").isEmpty)
    }

    @Test("TLS settings of a target without TLS are warned about, and told what a redirect makes of them")
    func unusedTLS() throws {
        func target(_ url: String, _ more: String = "") throws -> [String] {
            try warnings("[[poll_external.targets]]\nurl = \"\(url)\"\ntls_config = { ca_file = \"ca.pem\" }\n\(more)\n")
        }
        let key = "config.toml:3:14: warning: poll_external.targets[0].tls_config"
        let redirect = "is used only after a redirect to https://, without its client certificate and server_name"
        let (http, unix) = ("the URL begins with http://; did you mean https://?", "a Unix socket is polled without TLS")
        #expect(try target("https://a/m").isEmpty)
        #expect(try target("http://a/m") == ["\(key) \(redirect): \(http)"])
        #expect(try target("http://a/m", "follow_redirects = false") == ["\(key) is not used: \(http)"])
        #expect(try target("unix:/a.sock:/m", "follow_redirects = false") == ["\(key) is not used: \(unix)"])
        // The general settings are for whichever targets need them.
        let general = "[poll_external]\nother_scrape_endpoints = [\"http://a/m\"]\ntls_config = { ca_file = \"ca.pem\" }\n"
        #expect(try warnings(general).isEmpty)
    }

    @Test("a final dot of a name in allowed_hosts does not count, as in Host")
    func finalDot() throws {
        let text = "[exporter]\nallowed_hosts = [\"Metrics.example.ORG.\", \"a\", \"127.0.0.1\"]\n"
        let decoded = try ConfigDecoder(file: "config.toml", folder: "").decode(FileReading(bytes: Array(text.utf8)))
        #expect(decoded.config.exporter.allowedHosts == ["metrics.example.org", "a", "127.0.0.1"])
    }

    @Test("an integer in quotes is told to be without them only if it is allowed then")
    func quotedIntegers() {
        for (value, isAllowed) in [("100000000", true), ("100000001", false), ("0", false)] {
            let text = "[receiver]\nmax_apps = \"\(value)\"\n"
            let error = #expect(throws: ConfigProblems.self) {
                try ConfigDecoder(file: "config.toml", folder: "").decode(FileReading(bytes: Array(text.utf8)))
            }
            #expect(error?.description.contains("without quotes") == isAllowed)
        }
    }

    @Test("two users whose names differ only in how an accent is written are an error at the second")
    func equalUsers() {
        let hash = "$2y$10$" + String(repeating: "a", count: 53)
        let text = "[exporter.basic_auth_users]\n\"caf\u{E9}\" = \"\(hash)\"\n\"cafe\u{301}\" = \"\(hash)\"\n"
        let error = #expect(throws: ConfigProblems.self) {
            try ConfigDecoder(file: "config.toml", folder: "").decode(FileReading(bytes: Array(text.utf8)))
        }
        let errors = error?.problems.filter { $0.severity == .error }
        #expect(errors?.map(\.position) == [ConfigPosition(line: 3, column: 1)], "\(error?.description ?? "")")
        #expect(errors?.first?.message.contains("has the name of an earlier one") == true)
    }

    @Test("an integer in the first line is shown as it is written, also after a byte order mark")
    func byteOrderMark() {
        for text in ["receiver.unix_socket_mode = 0o660", "receiver = { unix_socket_mode = 0o660 }", "receiver.unix_socket_mode = 0660"] {
            let problems = ["", "\u{FEFF}"].map { mark in
                #expect(throws: ConfigProblems.self) {
                    try ConfigDecoder(file: "config.toml", folder: "").decode(FileReading(bytes: Array((mark + text).utf8)))
                }?.description
            }
            #expect(problems[0] == problems[1])
            #expect(problems[0]?.contains("\"0660\"") == true, "\(problems)")
        }
    }

    @Test("a syntax error has the name of its table, however far above it stands")
    func tableOfASyntaxError() {
        let decoder = ConfigDecoder(file: "config.toml", folder: "")
        let text = "[receiver]\n  [exporter]\n" + String(repeating: "\n# [metrics]\n", count: 1000) + "self_metrics = tru\n"
        let error = #expect(throws: ConfigProblems.self) { try decoder.decode(FileReading(bytes: Array(text.utf8))) }
        #expect(error?.problems.map(\.key) == ["exporter.self_metrics"])
    }

    @Test("there are fixtures of both kinds")
    func fixtures() throws {
        #expect(try Self.names(".good.toml").count >= 3)
        #expect(try Self.names(".bad.toml").count >= 10)
    }
}
