import NIOCore
import Testing

@testable import Proxy

@Suite("Apps table")
struct AppsTableTests {
    private let now = Timestamp(nanoseconds: 1_653_263_512_939_898_700)

    private func table(of entries: [AppEntry]) -> String {
        let title = AppsTable.title(at: now)
        return AppsTable.document(AppsTable.list(of: entries, titleColumns: title.columns), title: title).pieces.map { String(buffer: $0) }
            .joined()
    }

    @Test("the table is the documented one, byte for byte")
    func golden() throws {
        let polled = Source.poll(endpoint: "127.0.0.1:1027")
        let entries = [
            try entry("external_poll: 127.0.0.1:1027", polled, at: 1_653_263_507_971_181_300),
            try entry("foo_bar_app0_metrics", .push(listener: "127.0.0.1:6554"), at: 1_653_263_502_737_333_400),
            try entry("foo_bar_app1_metrics", .push(listener: "/var/run/exporter-proxy-receiver.sock"), at: 1_653_263_467_406_709_000),
        ]
        let expected = """
            +---------------------------------------------------------------------------------------------------------------+
            | Current time: 2022-05-22 23:51:52.939898700 UTC                                                               |
            +---------------------------------------------------------------------------------------------------------------+
            | +-------------------------------+-----------------------------------+---------------------------------------+ |
            | | App Name                      | Last Update Time (UTC)            | Source                                | |
            | +-------------------------------+-----------------------------------+---------------------------------------+ |
            | | external_poll: 127.0.0.1:1027 | 2022-05-22 23:51:47.971181300 UTC | external_poll: 127.0.0.1:1027         | |
            | +-------------------------------+-----------------------------------+---------------------------------------+ |
            | | foo_bar_app0_metrics          | 2022-05-22 23:51:42.737333400 UTC | 127.0.0.1:6554                        | |
            | +-------------------------------+-----------------------------------+---------------------------------------+ |
            | | foo_bar_app1_metrics          | 2022-05-22 23:51:07.406709 UTC    | /var/run/exporter-proxy-receiver.sock | |
            | +-------------------------------+-----------------------------------+---------------------------------------+ |
            +---------------------------------------------------------------------------------------------------------------+

            """
        #expect(table(of: entries) == expected)
    }

    @Test("without apps the box closes round the time, which is wider than the table's head")
    func noApps() {
        let expected = """
            +-------------------------------------------------+
            | Current time: 2022-05-22 23:51:52.939898700 UTC |
            +-------------------------------------------------+
            | +----------+------------------------+--------+  |
            | | App Name | Last Update Time (UTC) | Source |  |
            | +----------+------------------------+--------+  |
            +-------------------------------------------------+

            """
        #expect(table(of: []) == expected)
    }

    @Test("a target that fails, never answered, or was not yet asked says so beside the time")
    func states() throws {
        let source = Source.poll(endpoint: "h:1")
        let entries = [
            try entry("a", source, at: 1_653_263_512_000_000_000, .failing(reason: "timed out")),
            try entry("b", source, at: nil, .failing(reason: "connection refused")),
            try entry("c", source, at: nil, .ok),
        ]
        let rows = table(of: entries).split(separator: "\n").filter { $0.contains("external_poll") }
        #expect(
            rows == [
                "| | a        | 2022-05-22 23:51:52 UTC (failing) | external_poll: h:1 | |",
                "| | b        | never (failing)                   | external_poll: h:1 | |",
                "| | c        | never                             | external_poll: h:1 | |",
            ])
    }

    @Test("the box stays closed whatever a name or source holds")
    func oddNames() throws {
        let entries = [
            try entry("größe", .push(listener: "/tmp/\u{1B}[2J\n"), at: nil),
            try entry("日本語", .push(listener: "x"), at: nil),
            try entry("a\u{202E}b", .push(listener: String(repeating: "y", count: 300)), at: nil),
        ]
        let text = table(of: entries)
        let lines = text.split(separator: "\n")
        #expect(Set(lines.map { PrintableText(String($0)).columns }).count == 1)
        #expect(lines.allSatisfy { PrintableText(String($0)).text == $0 })
        #expect(text.contains("| /tmp/\\u{1B}[2J\\u{A} "))
        #expect(text.contains("| 日本語     |"))
        #expect(text.contains("| a\\u{202E}b |"))
    }

    @Test("in a table of many apps a very long cell makes only its own row longer", arguments: [(4464, false), (4465, true)])
    func longCell(apps: Int, isLonger: Bool) throws {
        // As long as a name can be, and shown as 128 escapes of 7 columns.
        let long = String(repeating: "\u{61C}", count: 128)
        let shown = PrintableText(long)
        #expect(shown.columns == 896)
        let source = Source.push(listener: "l")
        var entries = try (1..<apps).map { try entry("\(10_000 + $0)", source, at: nil) }
        entries.append(try entry(long, source, at: nil))
        let lines = table(of: entries).split(separator: "\n")
        let widths = Set(lines.map(\.utf8.count))
        #expect(widths.count == (isLonger ? 2 : 1))
        #expect(lines.count { $0.utf8.count > 896 } == (isLonger ? 1 : lines.count))
        #expect(lines.contains { $0.hasPrefix("| | \(shown.text) | never ") && $0.hasSuffix(" | |") })
        #expect(lines.contains { $0.hasPrefix("| | 10001 ") })
    }

    private func entry(_ name: String, _ source: Source, at time: Int64?, _ state: AppEntry.State = .ok) throws -> AppEntry {
        AppEntry(
            name: try #require(AppName(name)), source: source, lastUpdate: time.map { Timestamp(nanoseconds: $0).moment },
            exposition: Exposition(endingInNewline: ByteBuffer()), state: state)
    }
}
