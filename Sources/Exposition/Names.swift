/// One label of a sample: offsets of its name and value, without quotes.
struct Label {
    private let nameStart: UInt32
    private let nameEnd: UInt32
    private let valueStart: UInt32
    private let valueEnd: UInt32

    /// Offsets in a text, which is shorter than 4 GiB.
    @inline(__always)
    init(nameStart: Int, nameEnd: Int, valueStart: Int, valueEnd: Int) {
        self.nameStart = UInt32(truncatingIfNeeded: nameStart)
        self.nameEnd = UInt32(truncatingIfNeeded: nameEnd)
        self.valueStart = UInt32(truncatingIfNeeded: valueStart)
        self.valueEnd = UInt32(truncatingIfNeeded: valueEnd)
    }

    var name: Range<Int> { Int(nameStart)..<Int(nameEnd) }
    var value: Range<Int> { Int(valueStart)..<Int(valueEnd) }

    /// Whether the name is in quotes. After another name comes a blank or an equals sign.
    func isQuoted(in text: Text) -> Bool { text[Int(nameEnd)] == UInt8(ascii: "\"") }

    /// Whether the label is special: its name is in quotes, begins with an underscore, or is long.
    @inline(__always)
    func needsLook(in text: Text) -> Bool {
        text[Int(nameStart)] == UInt8(ascii: "_") || isQuoted(in: text) || valueEnd &- nameStart > UInt32(Parser.maxLabelLength)
    }

    /// A number that is equal for equal names, also if only one of them has escapes.
    @inline(__always)
    func sketch(in text: Text) -> UInt64 {
        guard nameStart != nameEnd, !isQuoted(in: text) else { return quotedSketch(in: text) }
        return Label.sketch(first: text[Int(nameStart)], last: text[Int(nameEnd) - 1], count: Int(nameEnd &- nameStart))
    }

    @inline(__always)
    private static func sketch(first: UInt8, last: UInt8, count: Int) -> UInt64 {
        UInt64(first) &* 7 &+ UInt64(last) &* 3 &+ UInt64(truncatingIfNeeded: count)
    }

    @inline(never)
    private func quotedSketch(in text: Text) -> UInt64 {
        NameBytes(text[name]).with { name in
            guard let first = name.first, let last = name.last else { return 0 }
            return Label.sketch(first: first, last: last, count: name.count)
        }
    }
}

/// The labels of one sample; the memory is used again for the next one.
struct LabelList: ~Copyable {
    private var storage: UnsafeMutablePointer<Label>
    private var capacity = 16
    private(set) var count = 0
    private var sketches: UInt64 = 0
    /// Whether two names may be the same. If false, they are all different.
    private(set) var mayRepeat = false

    init() { storage = .allocate(capacity: capacity) }

    deinit { storage.deallocate() }

    subscript(index: Int) -> Label {
        precondition(index >= 0 && index < count)
        return storage[index]
    }

    @inline(__always)
    mutating func removeAll() {
        count = 0
        sketches = 0
        mayRepeat = false
    }

    /// - Parameter sketch: a number that is equal for equal names.
    @inline(__always)
    mutating func append(_ label: Label, sketch: UInt64) {
        if count == capacity { grow() }
        storage[count] = label
        count &+= 1
        let bit: UInt64 = 1 &<< sketch
        if sketches & bit != 0 { mayRepeat = true }
        sketches |= bit
    }

    @inline(never)
    private mutating func grow() {
        let larger = UnsafeMutablePointer<Label>.allocate(capacity: 2 * capacity)
        larger.update(from: storage, count: count)
        storage.deallocate()
        storage = larger
        capacity *= 2
    }
}

/// A name or a label's value with resolved escapes, for comparing and hashing.
struct NameBytes: Hashable {
    private let bytes: UnsafeRawBufferPointer
    private let unescaped: [UInt8]?

    init(_ bytes: UnsafeRawBufferPointer) {
        self.bytes = bytes
        unescaped = bytes.contains(UInt8(ascii: "\\")) ? NameBytes.unescape(bytes) : nil
    }

    static func == (a: NameBytes, b: NameBytes) -> Bool {
        a.with { a in b.with { b in a.count == b.count && a.elementsEqual(b) } }
    }

    func hash(into hasher: inout Hasher) {
        with { bytes in
            hasher.combine(bytes: bytes)
            // A byte that UTF-8 does not use, as a separator between hashed values.
            hasher.combine(UInt8(0xFF))
        }
    }

    func with<Result>(_ body: (UnsafeRawBufferPointer) -> Result) -> Result {
        if let unescaped { unescaped.withUnsafeBytes(body) } else { body(bytes) }
    }

    /// The bytes with `\\`, `\"` and `\n` resolved; any other backslash stays, as in Prometheus.
    private static func unescape(_ bytes: UnsafeRawBufferPointer) -> [UInt8] {
        var result: [UInt8] = []
        result.reserveCapacity(bytes.count)
        var index = 0
        while index < bytes.count {
            let byte = bytes[index]
            index += 1
            guard byte == UInt8(ascii: "\\"), index < bytes.count else {
                result.append(byte)
                continue
            }
            switch bytes[index] {
            case UInt8(ascii: "\\"): result.append(UInt8(ascii: "\\"))
            case UInt8(ascii: "\""): result.append(UInt8(ascii: "\""))
            case UInt8(ascii: "n"): result.append(UInt8(ascii: "\n"))
            default:
                result.append(byte)
                continue
            }
            index += 1
        }
        return result
    }
}

/// The standard library gives hashes a new key at each start of the program, so that prepared input does not collide.
/// In a text of a million different series, the probability that two share a hash is below one in ten millions.
extension NameBytes {
    var hash: UInt64 {
        var hasher = Hasher()
        hash(into: &hasher)
        return UInt64(truncatingIfNeeded: hasher.finalize())
    }
}

extension Parser {
    /// The hash of the last sample's series: equal for equal metric names and labels, in any order and spelling. Labels with an empty value
    /// count as absent, as in Prometheus.
    var seriesHash: UInt64 { seriesHash(withNameHash: NameBytes(text[name]).hash) }

    /// The same, when the hash of the sample's name is known.
    func seriesHash(withNameHash nameHash: UInt64) -> UInt64 {
        var sum = nameHash
        for index in 0..<labels.count {
            let label = labels[index]
            guard !label.value.isEmpty else { continue }
            var hasher = Hasher()
            NameBytes(text[label.name]).hash(into: &hasher)
            NameBytes(text[label.value]).hash(into: &hasher)
            // A sum does not depend on the order.
            sum &+= UInt64(truncatingIfNeeded: hasher.finalize())
        }
        return sum
    }

    /// The range of the last sample's name and labels.
    var series: Range<Int> {
        guard closeBrace >= 0 else { return name }
        // A quoted name is within the braces.
        return min(name.lowerBound, openBrace)..<closeBrace + 1
    }
}
