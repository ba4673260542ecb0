import Pushgateway
import Testing

/// Writes protobuf as a client does.
private struct Wire {
    var bytes: [UInt8] = []

    mutating func varint(_ value: UInt64) {
        var value = value
        while value >= 0x80 {
            bytes.append(UInt8(value & 0x7F) | 0x80)
            value >>= 7
        }
        bytes.append(UInt8(value))
    }

    mutating func number(_ field: UInt64, _ value: UInt64) {
        varint(field << 3)
        varint(value)
    }

    mutating func double(_ field: UInt64, _ value: Double) {
        varint(field << 3 | 1)
        withUnsafeBytes(of: value.bitPattern.littleEndian) { bytes += $0 }
    }

    mutating func message(_ field: UInt64, _ build: (inout Wire) -> Void) {
        var inner = Wire()
        build(&inner)
        varint(field << 3 | 2)
        varint(UInt64(inner.bytes.count))
        bytes += inner.bytes
    }

    mutating func text(_ field: UInt64, _ value: String) { message(field) { $0.bytes += Array(value.utf8) } }

    mutating func label(_ name: String, _ value: String) {
        message(1) {
            $0.text(1, name)
            $0.text(2, value)
        }
    }

    /// The message with its length before it.
    static func delimited(_ build: (inout Wire) -> Void) -> [UInt8] {
        var inner = Wire()
        build(&inner)
        var wire = Wire()
        wire.varint(UInt64(inner.bytes.count))
        return wire.bytes + inner.bytes
    }
}

@Suite("ProtobufFamilies")
struct ProtobufFamiliesTests {
    private func read(_ bytes: [UInt8]) throws -> [MetricFamily] { try bytes.withUnsafeBytes { try ProtobufFamilies.read($0) } }

    private static let gauge = Wire.delimited {
        $0.text(1, "g")
        $0.text(2, "help")
        $0.message(4) { metric in
            metric.label("a", "1")
            metric.message(2) { $0.double(1, 1.5) }
        }
        // Behind the metrics that it is about.
        $0.number(3, 1)
    }

    private static let histogram = Wire.delimited {
        $0.text(1, "h")
        $0.number(3, 4)
        $0.message(4) { metric in
            metric.message(7) { histogram in
                histogram.number(1, 3)
                histogram.double(2, 2.5)
                histogram.message(3) { bucket in
                    bucket.number(1, 1)
                    bucket.double(2, 0.5)
                    // An exemplar.
                    bucket.message(3) { $0.double(2, 7) }
                }
            }
        }
    }

    @Test("families of all kinds are read, unknown fields skipped")
    func families() throws {
        let families = try read(Self.gauge + Self.histogram)
        #expect(
            families[0]
                == MetricFamily(
                    name: "g", help: "help", kind: .gauge, metrics: [Metric(labels: [.init(name: "a", value: "1")], value: .number(1.5))]))
        var distribution = Metric.Distribution()
        (distribution.count, distribution.sum, distribution.points) = (3, 2.5, [(0.5, 1)])
        #expect(families[1] == MetricFamily(name: "h", kind: .histogram, metrics: [Metric(value: .histogram(distribution))]))
    }

    @Test("a histogram counts in whole numbers, or in floats where they are more than none")
    func floatCounts() throws {
        func distribution(_ float: Double) throws -> Metric.Value? {
            let family = Wire.delimited {
                $0.text(1, "h")
                $0.number(3, 4)
                $0.message(4) { metric in
                    metric.message(7) { histogram in
                        histogram.number(1, 3)
                        histogram.double(4, float)
                        histogram.message(3) { bucket in
                            bucket.number(1, 2)
                            bucket.double(2, 0.5)
                            bucket.double(4, float)
                        }
                    }
                }
            }
            return try read(family).first?.metrics.first?.value
        }
        var (whole, floating) = (Metric.Distribution(), Metric.Distribution())
        (whole.count, whole.points) = (3, [(0.5, 2)])
        (floating.count, floating.points) = (1.5, [(0.5, 1.5)])
        #expect(try distribution(0) == .histogram(whole))
        #expect(try distribution(1.5) == .histogram(floating))
    }

    @Test("each bucket counts as a sample while it is read")
    func cost() throws {
        let histogram = Self.histogram
        func read(_ limit: Int) throws {
            _ = try histogram.withUnsafeBytes { try ProtobufFamilies.read($0, FamilyCost(limit: limit)) }
        }
        // A family of 65 bytes, a metric and a bucket of 4.
        try read(73)
        #expect(throws: FamilyFault.tooLarge(limit: 72)) { try read(72) }
    }

    @Test("of a repeated name the last family counts")
    func repeated() throws {
        #expect(try read(Self.gauge + Self.gauge).count == 1)
    }

    @Test("a message cut anywhere is refused, or ends at the end of a family")
    func cut() throws {
        let bytes = Self.gauge + Self.histogram
        for length in 1..<bytes.count where length != Self.gauge.count {
            #expect(throws: FamilyFault.self, "cut at \(length)") { try read(Array(bytes[..<length])) }
        }
    }

    @Test("a byte changed anywhere is read or refused, and nothing else happens")
    func changed() {
        let bytes = Self.gauge + Self.histogram
        for index in bytes.indices {
            for change: UInt8 in [0x01, 0x80, 0xFF] {
                var copy = bytes
                copy[index] ^= change
                _ = try? read(copy)
            }
        }
    }

    @Test(
        "what is no protobuf is refused with the byte",
        arguments: [
            ([0x05, 0x0A], "malformed protobuf at byte 1: a length of 5 bytes where 1 are left"),
            ([0x02, 0x0B, 0x00], "malformed protobuf at byte 2: wire type 3"),
            ([0x01, 0x02], "malformed protobuf at byte 2: field number 0"),
            ([0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x7F], "malformed protobuf at byte 10: a number of more than 64 bits"),
            ([0x03, 0x0A, 0x01, 0xFF], "malformed protobuf at byte 3: a text that is not UTF-8"),
            ([0x03, 0x0A, 0x01, 0x00], "malformed protobuf at byte 3: a text with a NUL byte"),
            ([0x02, 0x18, 0x09], "malformed protobuf at byte 3: unknown metric type 9"),
        ] as [([UInt8], String)])
    func refusals(bytes: [UInt8], reason: String) {
        #expect(throws: FamilyFault.malformed(reason)) { try read(bytes) }
    }
}
