import Foundation
import TestSupport
import Testing

/// The messages that `docs/troubleshooting.md` quotes: each code span, divided where it leaves something out.
private let quoted: [[String]] = {
    let text = (try? String(contentsOfFile: "\(checkout)/docs/troubleshooting.md", encoding: .utf8)) ?? ""
    let spans = text.split(separator: "`", omittingEmptySubsequences: false).enumerated().filter { $0.offset % 2 == 1 }.map(\.element)
    return spans.map { withoutNumbers($0).split(separator: "…").map(String.init) }
}()

/// The text with 0 in place of each number: the page shows examples.
private func withoutNumbers(_ text: some StringProtocol) -> String { String(text).replacing(/[0-9]+/, with: "0") }

/// Whether the page quotes the message: a span begins like it, and the rest of the span follows in order.
private func isQuoted(_ message: some StringProtocol) -> Bool {
    let message = withoutNumbers(message)
    return quoted.contains { parts in
        guard let first = parts.first, first.count >= 12, message.hasPrefix(first) else { return false }
        var rest = message.dropFirst(first.count)
        for part in parts.dropFirst() {
            guard let place = rest.range(of: part) else { return false }
            rest = rest[place.upperBound...]
        }
        return true
    }
}

@Suite struct TroubleshootingNamesWhatIsSeen {
    @Test("it quotes what a refused sender reads")
    func pushes() async throws {
        let long = String(repeating: "a", count: 2000)
        let messages: [(sent: [UInt8], reason: String)] = [
            (Array("{\"a\":\"a 1\nb 2\"}".utf8), "malformed JSON: line 1"),
            (Array("a 1\n".utf8), "malformed JSON: found 'a'"),
            (Array(#"{"a":5}"#.utf8), "malformed JSON: the metrics"),
            (Array(#"{"a":"a 1""#.utf8), "the connection ended"),
            (Array("{\"a\":\"\(long)\"}".utf8), "message is larger"),
            (Array(#"{"a":"a 1","b":"b 1","c":"c 1","d":"d 1"}"#.utf8), "the store already holds"),
            (Array(#"{"a":"a 1\u0000"}"#.utf8), "the metrics of app \"a\" hold a NUL"),
            (Array("{\"a\":\"".utf8) + [0xFF] + Array("\"}".utf8), "the message is not valid UTF-8"),
            ([0x1F, 0x8B, 8, 0, 0, 0, 0, 0, 0, 3], "these bytes are compressed"),
            (Array(#"{"backup":"backup_seconds 12,5"}"#.utf8), "app backup: line 1"),
        ]
        let config =
            Configurations.scrape + Configurations.receivers("max_message_size = 1024\nmax_apps = 3")
            + "[metrics]\nvalidate = \"refuse\"\n"
        try await withProxy(config) { proxy in
            for message in messages {
                let answer = try await pushOverTCP(message.sent, to: proxy).split(separator: "\n").first ?? ""
                #expect(answer.hasPrefix("error: \(message.reason)"))
                #expect(isQuoted(answer.dropFirst("error: ".count)), "\(answer)")
            }
        }
    }

    @Test("it quotes why polls fail")
    func polls() async throws {
        let answers: [String: HTTPTarget.Step] = [
            "/html": .respond("<!DOCTYPE html><html></html>", type: "text/html"),
            "/openmetrics": .respond("a 1\n# EOF\n", type: "application/openmetrics-text; version=1.0.0"),
            "/missing": .respond("", status: "404 Not Found"),
            "/unauthorized": .respond("", status: "401 Unauthorized"),
            "/brotli": .respond("a 1\n", headers: "Content-Encoding: br\r\n"),
            "/nul": .respond("a\0 1\n"),
            "/closes": .close,
            "/circle": .redirect(to: "/circle"),
            "/gzip": .respond("a 1\n", headers: "Content-Encoding: gzip\r\n"),
            "/short": .send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\na 1\n"),
            "/large": .respond("a 1\(String(repeating: " ", count: 2000))\n"),
            "/ssh": .send("SSH-2.0-OpenSSH_9.2\r\n\r\n"),
            "/invalid": .respond("a 12,5\n"),
        ]
        try await HTTPTarget.with(answer: { [answers[$0.path] ?? .close, .close] }) { target in
            let urls = answers.keys.map { "http://127.0.0.1:\(target.port)\($0)" } + ["http://127.0.0.1:1/refused"]
            let targets = urls.map { "[[poll_external.targets]]\nurl = \"\($0)\"\nname = \"\($0.split(separator: "/").last ?? "")\"\n" }
            let config =
                Configurations.scrape + "[metrics]\nvalidate = \"refuse\"\n" + Configurations.polledOnce + "body_size_limit = 1000\n"
                + targets.joined()
            try await withProxy(config) { proxy in
                try await wait(for: "the first polls") { try await curl("http://\(proxy.scrape)/-/ready").status == 200 }
                for url in urls {
                    let name = url.split(separator: "/").last ?? ""
                    let lines = try await curl("http://\(proxy.scrape)/metrics?app=\(name)").body
                    let reason = lines.split(separator: " is failing: ").last.map { $0.split(separator: "\n")[0] } ?? ""
                    #expect(isQuoted(reason), "\(name): \(reason)")
                }
            }
        }
    }

    @Test("it quotes why a start fails")
    func starts() async throws {
        let long = String(repeating: "a", count: 110)
        let configs = [
            "[exporter]\nconcurent_requests = 3\n",
            "[exporter]\nscrape_expose_endpoint = \"10.99.99.99:6555\"\n",
            "[receiver]\nreceive_on_unix_socket = true\nreceiver_unix_socket = \"/run/\(long)\"\n",
            Configurations.scrape + "[receiver]\nreceive_on_unix_socket = true\nreceiver_unix_socket = \"config.toml\"\n",
            Configurations.scrape + "[receiver]\nreceive_on_unix_socket = true\nreceiver_unix_socket = \"none/r.sock\"\n",
        ]
        for config in configs {
            let result = try await runProxy(config)
            #expect(result.status == .exited(1))
            let line = result.errors.split(separator: "\n").first { $0.contains(": error: ") } ?? ""
            let message = line.split(separator: ": error: ").last ?? ""
            // A message about a socket has its key first.
            let withoutKey = message.split(separator: ": ", maxSplits: 1).last ?? ""
            #expect(isQuoted(message) || isQuoted(withoutKey), "\(line)")
        }
    }
}
