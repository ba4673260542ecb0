import Foundation
import Testing

@testable import Proxy

/// What `docs/configuration.md` and the shipped `config.toml` say about keys is what the decoder takes.
@Suite struct ConfigDocumentsTests {
    static let root = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "../../..").standardized

    /// The lines of the blocks in which `docs/configuration.md` lists keys.
    static func reference() throws -> [Substring] {
        let page = try String(contentsOf: root.appending(path: "docs/configuration.md"), encoding: .utf8)
        // Text and blocks take turns.
        let parts = page.split(separator: "```\n", omittingEmptySubsequences: false)
        return parts.indices.filter { $0 % 2 == 1 }.flatMap { parts[$0].split(separator: "\n") }
    }

    /// The lines of `config.toml`, those that are commented out among them.
    static func shippedLines() throws -> [Substring] {
        let file = try String(contentsOf: root.appending(path: "config.toml"), encoding: .utf8)
        return file.split(separator: "\n").map { $0.drop { $0 == "#" || $0 == " " } }
    }

    /// A key as one of the documents writes it.
    struct Written {
        /// Tables for which the line speaks.
        var tables: [String]
        var name: Substring
        /// What follows `=`.
        var rest: Substring

        var paths: [String] { tables.map { "\($0).\(name)" } }
    }

    private static var headerLine: Regex<(Substring, Substring)> { #/((?:\[+[a-z_.]+\]+ ?)+)(?: *#.*)?$/# }

    /// Every `key = …` below the headers of its tables. Members of tables whose keys are the user's own are left out.
    static func keys(in lines: [Substring]) -> [Written] {
        let known = Set(knownKeys)
        var tables: [String] = []
        var found: [Written] = []
        for line in lines {
            let headers = line.prefixMatch(of: headerLine).map { $0.1.matches(of: #/\[+([a-z_.]+)\]+/#) } ?? []
            if !headers.isEmpty {
                tables = headers.map { String($0.1) }
                for table in tables where known.contains(table) { found.append(Written(tables: [""], name: Substring(table), rest: "")) }
                continue
            }
            guard let match = line.prefixMatch(of: #/([a-z_]+) = (.*)/#), !tables.isEmpty, !tables.contains(where: known.contains) else {
                continue
            }
            let name = match.1
            // The members of a table with keys of the user's own are no keys of ours.
            let isTable = match.2.hasPrefix("{") && !tables.contains { known.contains("\($0).\(name)") }
            let members = isTable ? match.2.matches(of: #/\b([a-z_]+) = /#) : []
            if members.isEmpty { found.append(Written(tables: tables, name: name, rest: match.2)) }
            for member in members { found.append(Written(tables: tables.map { "\($0).\(name)" }, name: member.1, rest: "")) }
        }
        return found
    }

    static var knownKeys: [String] { ConfigSchema.leafKeys.map { $0.replacing("[]", with: "") } }

    @Test("docs/configuration.md lists every key that is known, once, and no other")
    func referenceIsComplete() throws {
        let keys = Self.keys(in: try Self.reference()).flatMap(\.paths).map { $0.trimmingPrefix(".") }.map(String.init)
        #expect(keys.sorted() == Self.knownKeys.sorted())
    }

    @Test("config.toml names every key that is known, and no other")
    func shippedFileIsComplete() throws {
        let lines = try Self.shippedLines()
        var keys = Set(Self.keys(in: lines).flatMap(\.paths).map { String($0.trimmingPrefix(".")) })
        // A table whose header says so has the keys of another one.
        for line in lines {
            guard let match = line.firstMatch(of: #/^\[([a-z_.]+)\].*the keys of \[([a-z_.]+)\]/#) else { continue }
            keys.formUnion(keys.filter { $0.hasPrefix("\(match.2).") }.map { "\(match.1)\($0.dropFirst(match.2.count))" })
        }
        #expect(keys.subtracting(Self.knownKeys).sorted() == [], "unknown")
        #expect(Set(Self.knownKeys).subtracting(keys).sorted() == [], "missing")
    }

    @Test("each default in docs/configuration.md is the decoder's")
    func referenceDefaults() throws {
        var compared = 0
        for key in Self.keys(in: try Self.reference()) {
            guard let value = key.rest.firstMatch(of: #/\| default = (.*)$/#)?.1, key.tables.count == 1 else { continue }
            compared += try expectDefault(key, String(value)) ? 1 : 0
        }
        #expect(compared >= 25)
    }

    @Test("each value in config.toml is the default, or its line says what the default is")
    func shippedDefaults() throws {
        let file = try String(contentsOf: Self.root.appending(path: "config.toml"), encoding: .utf8)
        var compared = 0
        var previous: Substring = ""
        var lines: [Substring] = []
        for line in file.split(separator: "\n") {
            if line.hasPrefix("[") || !(line.contains("default:") || previous.hasPrefix("# default:")) { lines.append(line) }
            previous = line
        }
        for key in Self.keys(in: lines) {
            guard let value = key.rest.split(separator: "  #").first else { continue }
            compared += try expectDefault(key, String(value)) ? 1 : 0
        }
        #expect(compared >= 20)
    }

    /// Decodes `key` with `value` alone and expects what an empty file gives.
    /// - Returns: false where the value is words, not TOML, or the key has no meaning by itself.
    private func expectDefault(_ key: Written, _ value: String) throws -> Bool {
        guard ["exporter", "receiver", "metrics", "poll_external"].contains(key.tables[0]), value.contains(#/^["\[{0-9]|^true|^false/#)
        else {
            return false
        }
        // Without these there is nothing for the other keys to change.
        let base =
            switch (key.tables[0], key.name) {
            case (_, "receive_on_unix_socket"), (_, "receive_on_tcp_socket"), (_, "receive_on_http_socket"),
                (_, "poll_other_scrape_endpoints"):
                ""
            case ("receiver", _): "receive_on_unix_socket = true\nreceive_on_tcp_socket = true\nreceive_on_http_socket = true\n"
            case ("poll_external", _): "poll_other_scrape_endpoints = true\ntargets = [{ url = \"https://a.example\" }]\n"
            default: ""
            }
        let decoder = ConfigDecoder(file: "config.toml", folder: "/etc")
        let without = try decoder.decode(FileReading(bytes: [UInt8]("[\(key.tables[0])]\n\(base)".utf8))).config
        let with = try decoder.decode(FileReading(bytes: [UInt8]("[\(key.tables[0])]\n\(base)\(key.name) = \(value)\n".utf8))).config
        #expect(with == without, "\(key.paths[0]) = \(value) is not the default")
        return true
    }
}
