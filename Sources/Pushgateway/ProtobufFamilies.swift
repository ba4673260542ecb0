/// Reads length-delimited `io.prometheus.client.MetricFamily` messages (protobuf.dev/programming-guides/encoding), which Go's client
/// library pushes. Fields that do not exist in the text format (exemplars, native histograms, created timestamps) are skipped.
public enum ProtobufFamilies {
    /// Reads the families; of a repeated name the last one counts.
    /// - Parameter cost: counts what they take, and says when it is too much.
    /// - Throws: `.malformed`, with the offset of the wrong byte; `.tooLarge`.
    public static func read(_ bytes: UnsafeRawBufferPointer, _ cost: FamilyCost = FamilyCost()) throws(FamilyFault) -> [MetricFamily] {
        var cost = cost
        var reader = WireReader(bytes)
        var families: [MetricFamily] = []
        var indexes: [String: Int] = [:]
        while !reader.isAtEnd {
            let family = try self.family(try reader.message(), &cost)
            if let index = indexes[family.name] {
                families[index] = family
            } else {
                indexes[family.name] = families.count
                families.append(family)
            }
        }
        return families
    }

    private static func family(_ message: WireReader, _ cost: inout FamilyCost) throws(FamilyFault) -> MetricFamily {
        var reader = message
        var family = MetricFamily(name: "", kind: .counter)
        var metrics: [WireReader] = []
        while let field = try reader.nextField() {
            switch (field.number, field.value) {
            case (1, .bytes(let name)): family.name = try name.text()
            case (2, .bytes(let help)): family.help = try help.text()
            case (3, .varint(let kind)): family.kind = try self.kind(kind, reader)
            case (4, .bytes(let metric)):
                try cost.addSample()
                metrics.append(metric)
            default: break
            }
        }
        try cost.addFamily(nameOf: family.name.utf8.count)
        // The kind may come after the metrics.
        for message in metrics { family.metrics.append(try metric(message, family.kind, &cost)) }
        return family
    }

    private static func kind(_ number: UInt64, _ reader: WireReader) throws(FamilyFault) -> MetricFamily.Kind {
        switch number {
        case 0: .counter
        case 1: .gauge
        case 2: .summary
        case 3: .untyped
        // The text format has no gauge histogram, so it is written as a histogram.
        case 4, 5: .histogram
        default: throw reader.fault("unknown metric type \(number)")
        }
    }

    private static func metric(
        _ message: WireReader, _ kind: MetricFamily.Kind, _ cost: inout FamilyCost
    ) throws(FamilyFault) -> Metric {
        var reader = message
        var metric = Metric(value: nil)
        while let field = try reader.nextField() {
            switch (field.number, field.value) {
            case (1, .bytes(let label)):
                let label = try self.label(label)
                try cost.addLabel(label)
                metric.labels.append(label)
            case (2, .bytes(let gauge)) where kind == .gauge: metric.value = .number(try number(gauge))
            case (3, .bytes(let counter)) where kind == .counter: metric.value = .number(try number(counter))
            case (4, .bytes(let summary)) where kind == .summary:
                metric.value = .summary(try distribution(summary, isHistogram: false, &cost))
            case (5, .bytes(let untyped)) where kind == .untyped: metric.value = .number(try number(untyped))
            case (6, .varint): metric.hasTimestamp = true
            case (7, .bytes(let histogram)) where kind == .histogram:
                metric.value = .histogram(try distribution(histogram, isHistogram: true, &cost))
            default: break
            }
        }
        return metric
    }

    private static func label(_ message: WireReader) throws(FamilyFault) -> Metric.Label {
        var reader = message
        var label = Metric.Label(name: "", value: "")
        while let field = try reader.nextField() {
            switch (field.number, field.value) {
            case (1, .bytes(let name)): label.name = try name.text()
            case (2, .bytes(let value)): label.value = try value.text()
            default: break
            }
        }
        return label
    }

    /// The value of a counter, gauge or untyped metric, which is always field 1.
    private static func number(_ message: WireReader) throws(FamilyFault) -> Double {
        var reader = message
        var number = 0.0
        while let field = try reader.nextField() {
            if case (1, .double(let value)) = (field.number, field.value) { number = value }
        }
        return number
    }

    /// A summary (count, sum, quantiles) or a histogram (count or count of floats, sum, buckets).
    private static func distribution(
        _ message: WireReader, isHistogram: Bool, _ cost: inout FamilyCost
    ) throws(FamilyFault) -> Metric.Distribution {
        var reader = message
        var distribution = Metric.Distribution()
        while let field = try reader.nextField() {
            switch (field.number, field.value) {
            case (1, .varint(let count)): distribution.count = Double(count)
            case (2, .double(let sum)): distribution.sum = sum
            case (3, .bytes(let point)):
                try cost.addSample()
                distribution.points.append(try self.point(point, isBucket: isHistogram))
            case (4, .double(let count)) where isHistogram && count > 0: distribution.count = count
            default: break
            }
        }
        return distribution
    }

    /// A quantile (quantile, value), or a bucket (cumulative count, upper bound, count of floats).
    private static func point(_ message: WireReader, isBucket: Bool) throws(FamilyFault) -> (at: Double, value: Double) {
        var reader = message
        var point = (at: 0.0, value: 0.0)
        while let field = try reader.nextField() {
            switch (field.number, field.value) {
            case (1, .varint(let count)) where isBucket: point.value = Double(count)
            case (1, .double(let quantile)) where !isBucket: point.at = quantile
            case (2, .double(let bound)) where isBucket: point.at = bound
            case (2, .double(let value)): point.value = value
            case (4, .double(let count)) where isBucket && count > 0: point.value = count
            default: break
            }
        }
        return point
    }
}

/// Reads the fields of one message, never beyond its end, and in linear time.
private struct WireReader {
    enum Value {
        case varint(UInt64)
        case double(Double)
        case bytes(WireReader)
        /// 32 bits; the fields that are read here do not use it.
        case skipped
    }

    private let all: UnsafeRawBufferPointer
    private var position: Int
    private let end: Int

    init(_ bytes: UnsafeRawBufferPointer) {
        (all, position, end) = (bytes, 0, bytes.count)
    }

    private init(_ bytes: UnsafeRawBufferPointer, _ range: Range<Int>) {
        (all, position, end) = (bytes, range.lowerBound, range.upperBound)
    }

    var isAtEnd: Bool { position == end }

    /// The next field; `nil` at the end of the message.
    mutating func nextField() throws(FamilyFault) -> (number: UInt64, value: Value)? {
        guard !isAtEnd else { return nil }
        let tag = try varint()
        let number = tag >> 3
        guard number > 0, number < 1 << 29 else { throw fault("field number \(number)") }
        switch tag & 7 {
        case 0: return (number, .varint(try varint()))
        case 1: return (number, .double(Double(bitPattern: try fixed64())))
        case 2: return (number, .bytes(try message()))
        case 5:
            guard end - position >= 4 else { throw fault("a number that is cut short") }
            position += 4
            return (number, .skipped)
        default: throw fault("wire type \(tag & 7)")
        }
    }

    /// A message of a length and that number of bytes.
    mutating func message() throws(FamilyFault) -> WireReader {
        let length = try varint()
        guard length <= UInt64(end - position) else { throw fault("a length of \(length) bytes where \(end - position) are left") }
        let range = position..<(position + Int(length))
        position = range.upperBound
        return WireReader(all, range)
    }

    /// All of it as text.
    func text() throws(FamilyFault) -> String {
        let bytes = UnsafeRawBufferPointer(rebasing: all[position..<end])
        guard !bytes.contains(0) else { throw fault("a text with a NUL byte") }
        guard let text = String(validating: bytes, as: UTF8.self) else { throw fault("a text that is not UTF-8") }
        return text
    }

    private mutating func varint() throws(FamilyFault) -> UInt64 {
        var result: UInt64 = 0
        for shift in stride(from: UInt64(0), through: 63, by: 7) {
            guard position < end else { throw fault("a number that is cut short") }
            let byte = all[position]
            position += 1
            guard shift < 63 || byte <= 1 else { throw fault("a number of more than 64 bits") }
            result |= UInt64(byte & 0x7F) << shift
            if byte < 0x80 { return result }
        }
        throw fault("a number of more than 64 bits")
    }

    private mutating func fixed64() throws(FamilyFault) -> UInt64 {
        guard end - position >= 8 else { throw fault("a number that is cut short") }
        defer { position += 8 }
        return UInt64(littleEndian: all.loadUnaligned(fromByteOffset: position, as: UInt64.self))
    }

    func fault(_ what: String) -> FamilyFault { .malformed("malformed protobuf at byte \(position): \(what)") }
}
