import NIOCore

/// Writes the text format 0.0.4, family by family.
struct ExpositionWriter {
    private(set) var buffer = ByteBuffer()

    init(capacity: Int) { buffer.reserveCapacity(capacity) }

    mutating func begin(_ family: MetricFamily) { buffer.writeString(family.header) }

    /// - Parameter labels: ready, in braces; none for a family without.
    mutating func sample(_ family: MetricFamily, labels: String = "", _ value: Int) {
        buffer.writeString(family.name)
        buffer.writeString(labels)
        buffer.writeStaticString(" ")
        buffer.writeString(String(value))
        buffer.writeStaticString("\n")
    }

    /// A value in seconds, exact to the nanosecond.
    mutating func sample(_ family: MetricFamily, labels: String = "", nanoseconds: Int64) {
        buffer.writeString(family.name)
        buffer.writeString(labels)
        buffer.writeStaticString(" ")
        writeSeconds(nanoseconds)
        buffer.writeStaticString("\n")
    }

    /// A family of one sample.
    mutating func single(_ family: MetricFamily, labels: String = "", _ value: Int) {
        begin(family)
        sample(family, labels: labels, value)
    }

    private mutating func writeSeconds(_ nanoseconds: Int64) {
        if nanoseconds < 0 { buffer.writeStaticString("-") }
        let (whole, rest) = nanoseconds.magnitude.quotientAndRemainder(dividingBy: 1_000_000_000)
        buffer.writeString(String(whole))
        guard rest > 0 else { return }
        var digits = rest
        var count = 9
        while digits % 10 == 0 {
            digits /= 10
            count -= 1
        }
        let text = String(digits)
        buffer.writeStaticString(".")
        buffer.writeRepeatingByte(UInt8(ascii: "0"), count: count - text.utf8.count)
        buffer.writeString(text)
    }

    /// `{name="value",…}`, the values escaped.
    static func labels(_ pairs: (name: String, value: String)...) -> String {
        "{" + pairs.map { "\($0.name)=\"\(escaped($0.value))\"" }.joined(separator: ",") + "}"
    }

    /// A label's value as it stands between the quotes.
    static func escaped(_ value: String) -> String {
        guard value.utf8.contains(where: { $0 == UInt8(ascii: "\\") || $0 == UInt8(ascii: "\"") || $0 == UInt8(ascii: "\n") }) else {
            return value
        }
        var result: [UInt8] = []
        for byte in value.utf8 {
            switch byte {
            case UInt8(ascii: "\\"): result += Array(#"\\"#.utf8)
            case UInt8(ascii: "\""): result += Array(#"\""#.utf8)
            case UInt8(ascii: "\n"): result += Array(#"\n"#.utf8)
            default: result.append(byte)
            }
        }
        return String(decoding: result, as: UTF8.self)
    }
}
