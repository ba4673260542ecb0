/// The labels that name a group, from the path of a request: `/metrics/job/JOB{/LABEL/VALUE}`.
///
/// The syntax is the Pushgateway's: after `job@base64` and `LABEL@base64` comes a value in base64url, with or without padding. Of a
/// repeated label the last value counts, and the job at the start of the path wins over a label `job`.
public struct GroupingKey: Hashable, Sendable {
    /// Why a path does not name a group.
    public enum Fault: Error, Equatable, Sendable, CustomStringConvertible {
        case noJob
        case oddParts
        case invalidLabelName(String)
        case invalidBase64(String)
        case invalidText(String)
        case tooLong(limit: Int)

        /// In lower case, without a final period.
        public var description: String {
            switch self {
            case .noJob: "job name is required: use /metrics/job/JOB"
            case .oddParts: "odd number of parts after the job: use /metrics/job/JOB/LABEL/VALUE"
            case .invalidLabelName(let name):
                "'\(name)' is not a label name: use letters, digits and _, not beginning with a digit or __"
            case .invalidBase64(let name): "the value of '\(name)@base64' is not base64url"
            case .invalidText(let name): "the value of '\(name)' is not UTF-8, or holds a NUL byte"
            case .tooLong(let limit): "the group's name would be longer than \(limit) bytes: use fewer or shorter labels"
            }
        }
    }

    /// The longest name of an app, in bytes.
    static let maxName = 256

    /// All labels, `job` among them, in order of name.
    public let labels: [Metric.Label]

    /// The value of the label `job`.
    public var job: String { labels.first { $0.name == "job" }?.value ?? "" }

    /// Reads the rest of a percent-decoded path after `/metrics/`.
    public init(path: some StringProtocol) throws(Fault) {
        let parts = path.split(separator: "/", omittingEmptySubsequences: false)
        guard parts.count >= 2, parts[0] == "job" || parts[0] == "job@base64" else { throw .noJob }
        var values: [String: String] = [:]
        var rest = parts.dropFirst(2)
        // One slash at the end of the path does not count.
        if rest.count == 1, rest.first?.isEmpty == true { rest = [] }
        guard rest.count.isMultiple(of: 2) else { throw .oddParts }
        var index = rest.startIndex
        while index < rest.endIndex {
            let (name, value) = try Self.label(rest[index], rest[index + 1])
            guard Name.isLabel(name), !name.hasPrefix("__") else { throw .invalidLabelName(Self.shown(name)) }
            values[name] = value
            index += 2
        }
        let (_, job) = try Self.label(parts[0], parts[1])
        guard !job.isEmpty else { throw .noJob }
        values["job"] = job
        labels = values.map { Metric.Label(name: $0.key, value: $0.value) }.sorted { $0.name < $1.name }
        guard name.utf8.count <= Self.maxName else { throw .tooLong(limit: Self.maxName) }
    }

    /// The name of the group's app: `job/JOB{/LABEL/VALUE}`, the labels after the job in order of name; `/`, `%` and control characters
    /// in values are percent-encoded.
    public var name: String {
        var name = "job/\(Self.encoded(job))"
        for label in labels where label.name != "job" { name += "/\(label.name)/\(Self.encoded(label.value))" }
        return name
    }

    private static func label(_ name: some StringProtocol, _ value: some StringProtocol) throws(Fault) -> (name: String, value: String) {
        let suffix = "@base64"
        guard name.hasSuffix(suffix) else { return (String(name), try checked(String(value), of: String(name))) }
        let name = String(name.dropLast(suffix.count))
        guard let bytes = base64URL(value.utf8) else { throw .invalidBase64(shown(name)) }
        guard let text = String(validating: bytes, as: UTF8.self) else { throw .invalidText(shown(name)) }
        return (name, try checked(text, of: name))
    }

    private static func checked(_ value: String, of name: String) throws(Fault) -> String {
        guard !value.utf8.contains(0) else { throw .invalidText(shown(name)) }
        return value
    }

    /// RFC 4648 §5; padding is ignored.
    private static func base64URL(_ text: some Sequence<UInt8>) -> [UInt8]? {
        var digits: [UInt8] = []
        var padding = false
        for byte in text {
            if byte == UInt8(ascii: "=") {
                padding = true
                continue
            }
            guard !padding, let digit = digit(byte) else { return nil }
            digits.append(digit)
        }
        guard digits.count % 4 != 1 else { return nil }
        var bytes: [UInt8] = []
        bytes.reserveCapacity(digits.count * 3 / 4)
        var bits: UInt32 = 0
        var count = 0
        for digit in digits {
            bits = bits << 6 | UInt32(digit)
            count += 6
            guard count >= 8 else { continue }
            count -= 8
            bytes.append(UInt8(truncatingIfNeeded: bits >> UInt32(count)))
        }
        return bytes
    }

    private static func digit(_ byte: UInt8) -> UInt8? {
        switch byte {
        case UInt8(ascii: "A")...UInt8(ascii: "Z"): byte - UInt8(ascii: "A")
        case UInt8(ascii: "a")...UInt8(ascii: "z"): byte - UInt8(ascii: "a") + 26
        case UInt8(ascii: "0")...UInt8(ascii: "9"): byte - UInt8(ascii: "0") + 52
        case UInt8(ascii: "-"): 62
        case UInt8(ascii: "_"): 63
        default: nil
        }
    }

    private static func encoded(_ value: String) -> String {
        var result = ""
        for scalar in value.unicodeScalars {
            switch scalar.value {
            case 0..<0x20, 0x7F..<0xA0, UInt32(UInt8(ascii: "/")), UInt32(UInt8(ascii: "%")):
                for byte in String(scalar).utf8 { result += (byte < 0x10 ? "%0" : "%") + String(byte, radix: 16, uppercase: true) }
            default: result.unicodeScalars.append(scalar)
            }
        }
        return result
    }

    /// A label's name for messages: printable and short.
    private static func shown(_ name: some StringProtocol) -> String { encoded(String(name.prefix(80))) }
}
