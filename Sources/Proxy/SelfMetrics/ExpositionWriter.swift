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
            guard let start = free.baseAddress else { return 0 }
            var line = LineBytes(start)
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

    private let memory: UnsafeMutableRawPointer
    private(set) var count = 0

    init(_ memory: UnsafeMutableRawPointer) {
        self.memory = memory
    }

    mutating func append(_ byte: UInt8) {
        memory.storeBytes(of: byte, toByteOffset: count, as: UInt8.self)
        count += 1
    }

    mutating func append(_ text: String) {
        var text = text
        count += text.withUTF8 { bytes in
            if let start = bytes.baseAddress { (memory + count).copyMemory(from: start, byteCount: bytes.count) }
            return bytes.count
        }
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
        while memory.load(fromByteOffset: count - 1, as: UInt8.self) == UInt8(ascii: "0") { count -= 1 }
    }

    private mutating func append(digits value: UInt64, atLeast least: Int = 1) {
        var length = 1
        var rest = value / 10
        while rest > 0 {
            length += 1
            rest /= 10
        }
        length = max(length, least)
        rest = value
        for place in (count..<count + length).reversed() {
            memory.storeBytes(of: UInt8(ascii: "0") + UInt8(truncatingIfNeeded: rest % 10), toByteOffset: place, as: UInt8.self)
            rest /= 10
        }
        count += length
    }
}
