import NIOCore

/// Writes the text format 0.0.4, family by family.
struct ExpositionWriter {
    private(set) var buffer = ByteBuffer()

    init(capacity: Int) { buffer.reserveCapacity(capacity) }

    mutating func begin(_ family: MetricFamily) { buffer.writeString(family.header) }

    /// - Parameter labels: in braces and escaped; empty for a family without labels.
    mutating func sample(_ family: MetricFamily, labels: String = "", _ value: Int) {
        line(family.name, labels) { $0.append(decimal: value) }
    }

    /// A value in seconds, exact to the nanosecond.
    mutating func sample(_ family: MetricFamily, labels: String = "", nanoseconds: Int64) {
        line(family.name, labels) { $0.append(seconds: nanoseconds) }
    }

    /// Writes a line in one step, because a scrape writes a hundred lines, and the buffer checks its storage at each step.
    private mutating func line(_ name: String, _ labels: String, value: (inout LineBytes) -> Void) {
        let room = name.utf8.count + labels.utf8.count + LineBytes.maxValue + 2
        buffer.writeWithUnsafeMutableBytes(minimumWritableBytes: room) { free in
            var line = LineBytes(free)
            line.append(name)
            line.append(labels)
            line.append(UInt8(ascii: " "))
            value(&line)
            line.append(UInt8(ascii: "\n"))
            return line.count
        }
    }

    /// A family of one sample.
    mutating func single(_ family: MetricFamily, labels: String = "", _ value: Int) {
        begin(family)
        sample(family, labels: labels, value)
    }

    /// `{name="value",…}`, the values escaped.
    static func labels(_ pairs: (name: String, value: String)...) -> String {
        "{" + pairs.map { "\($0.name)=\"\(escaped($0.value))\"" }.joined(separator: ",") + "}"
    }

    /// A label's value as it is written between quotes.
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

/// The bytes of one line, in memory that has room for them.
private struct LineBytes {
    /// The longest value: a sign, twenty digits and a point.
    static let maxValue = 22

    private let memory: UnsafeMutableRawBufferPointer
    private(set) var count = 0

    init(_ memory: UnsafeMutableRawBufferPointer) {
        self.memory = memory
    }

    mutating func append(_ byte: UInt8) {
        memory[count] = byte
        count += 1
    }

    mutating func append(_ text: String) {
        var text = text
        text.withUTF8 { UnsafeMutableRawBufferPointer(rebasing: memory[count...]).copyMemory(from: UnsafeRawBufferPointer($0)) }
        count += text.utf8.count
    }

    mutating func append(decimal value: Int) {
        if value < 0 { append(UInt8(ascii: "-")) }
        append(digits: UInt64(value.magnitude))
    }

    /// Writes as many digits after the point as needed.
    mutating func append(seconds nanoseconds: Int64) {
        if nanoseconds < 0 { append(UInt8(ascii: "-")) }
        let (whole, rest) = nanoseconds.magnitude.quotientAndRemainder(dividingBy: 1_000_000_000)
        append(digits: whole)
        guard rest > 0 else { return }
        append(UInt8(ascii: "."))
        append(digits: rest, atLeast: 9)
        while memory[count - 1] == UInt8(ascii: "0") { count -= 1 }
    }

    private mutating func append(digits value: UInt64, atLeast least: Int = 1) {
        let start = count
        var rest = value
        while rest > 0 || count - start < least {
            append(UInt8(ascii: "0") + UInt8(rest % 10))
            rest /= 10
        }
        memory[start..<count].reverse()
    }
}
