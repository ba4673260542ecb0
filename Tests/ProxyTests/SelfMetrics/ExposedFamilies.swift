import Testing

@testable import Proxy

/// An exposition of the text format, read strictly: each family once, its header before its samples, all of them together.
struct ExposedFamilies {
    struct Family {
        var name: String
        var help = ""
        var type = ""
        /// Name and labels to value.
        var samples: [(series: String, value: String)] = []
    }

    private(set) var families: [Family] = []

    init(_ text: String) throws {
        try #require(text.isEmpty || text.hasSuffix("\n"))
        for line in text.split(separator: "\n", omittingEmptySubsequences: false).dropLast() {
            let words = line.split(separator: " ", maxSplits: 3).map(String.init)
            if words.first == "#" {
                let name = words[2]
                if words[1] == "HELP" {
                    try #require(!families.contains { $0.name == name }, "\(name) comes twice")
                    families.append(Family(name: name, help: words[3]))
                } else {
                    try #require(words[1] == "TYPE" && families.last?.name == name && families.last?.samples.isEmpty == true)
                    families[families.count - 1].type = words[3]
                }
                continue
            }
            let value = try #require(line.lastIndex(of: " "))
            let series = String(line[..<value])
            let name = String(series.prefix { $0 != "{" })
            try #require(families.last?.name == name, "\(series) stands outside of its family")
            try #require(families.last?.samples.contains { $0.series == series } == false, "\(series) comes twice")
            families[families.count - 1].samples.append((series, String(line[line.index(after: value)...])))
        }
    }

    /// The value of a series, without `exporter_proxy_`.
    subscript(series: String) -> String? {
        families.lazy.flatMap(\.samples).first { $0.series == "exporter_proxy_\(series)" }?.value
    }

    /// The series of one family, without its name.
    func labels(of family: String) -> [String] {
        families.first { $0.name == "exporter_proxy_\(family)" }?.samples.map {
            String($0.series.dropFirst($0.series.prefix { $0 != "{" }.count))
        } ?? []
    }
}
