/// This running program, told apart from every other.
public enum ProgramInstance {
    /// Random, the same until the program ends. Polls carry it, so that a proxy that polls itself, by whatever name or redirect, finds out.
    public static let id = String(UInt64.random(in: .min ... .max), radix: 16)

    /// Instances taken from the answer of one target at most.
    static let maxListed = 128
    /// Instances that an answer of ours lists at most: a head above 64 KiB would be refused by the proxy that polls it.
    static let maxAnswered = 1024
    /// The length of one, in bytes.
    static let maxLength = 32

    /// The instances that these expositions contain, as an answer lists them: each once, in order, at most `maxAnswered`.
    static func union(_ listed: some Sequence<[String]>) -> [String] {
        var union: Set<String> = []
        for instance in listed.lazy.joined() where union.count < maxAnswered { union.insert(instance) }
        return union.sorted()
    }

    /// The instances that the value of `X-Exporter-Proxy-Instances` names.
    static func list(_ value: String?) -> [String] {
        guard let value else { return [] }
        let items = value.utf8.split { $0 == UInt8(ascii: ",") || $0 == UInt8(ascii: " ") || $0 == UInt8(ascii: "\t") }
        return items.lazy.filter { $0.count <= maxLength }.prefix(maxListed).map { String($0) ?? "" }
    }
}

/// The program's own version.
public enum ProgramVersion {
    /// As `--version`, `User-Agent` and the build information show it (semantic versioning).
    public static let current = "0.1.0"
}
