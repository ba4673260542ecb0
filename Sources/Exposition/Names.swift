import Glibc

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
    func needsCheck(in text: Text) -> Bool {
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
        unescaped = NameBytes.hasEscape(bytes) ? NameBytes.unescape(bytes) : nil
    }

    @inline(__always)
    static func hasEscape(_ bytes: UnsafeRawBufferPointer) -> Bool {
        bytes.baseAddress.map { memchr($0, CInt(UInt8(ascii: "\\")), bytes.count) != nil } ?? false
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

extension NameBytes {
    var hash: UInt64 { with(SeriesHash.keyed.hash) }
}

/// Hashes of names and series: a multiplication for each 16 bytes, several times as fast as `Hasher`. The keys are drawn anew at each start
/// of the program, so that input cannot be made to collide. In a text of a million different series, the chance that two share a hash is
/// about one in forty million.
struct SeriesHash {
    static let keyed = SeriesHash()

    private let first = UInt64.random(in: .min ... .max)
    private let second = UInt64.random(in: .min ... .max)
    private let third = UInt64.random(in: .min ... .max)

    func hash(_ bytes: UnsafeRawBufferPointer) -> UInt64 {
        guard let start = bytes.baseAddress else { return fold(first, second) }
        // Spread the count over all bits. Otherwise the words hashed below could cancel it.
        var sum = first &+ UInt64(truncatingIfNeeded: bytes.count) &* 0x9E37_79B9_7F4A_7C15
        var index = 0
        while bytes.count - index > 16 {
            sum = fold(word(start + index) ^ second, word(start + index + 8) ^ sum)
            index += 16
        }
        let (low, high) = tail(start + index, bytes.count - index)
        return fold(low ^ second, high ^ sum)
    }

    /// Of a label, by the hashes of its name and its value.
    @inline(__always)
    func label(_ name: UInt64, _ value: UInt64) -> UInt64 { fold(name ^ third, value ^ second) }

    /// Of a number, by its bits.
    func number(_ value: Double) -> UInt64 { fold(value.bitPattern ^ first, third) }

    /// The last bytes, at most 16; the words overlap, and the count that the sum begins with tells the cases apart.
    @inline(__always)
    private func tail(_ start: UnsafeRawPointer, _ count: Int) -> (UInt64, UInt64) {
        if count >= 8 { return (word(start), word(start + count - 8)) }
        if count >= 4 {
            return (
                UInt64(start.loadUnaligned(as: UInt32.self)), UInt64((start + count - 4).loadUnaligned(as: UInt32.self))
            )
        }
        guard count > 0 else { return (0, 0) }
        func byte(_ index: Int) -> UInt64 { UInt64(start.load(fromByteOffset: index, as: UInt8.self)) }
        return (byte(0) << 16 | byte(count / 2) << 8 | byte(count - 1), 0)
    }

    @inline(__always)
    private func word(_ start: UnsafeRawPointer) -> UInt64 { start.loadUnaligned(as: UInt64.self) }

    @inline(__always)
    private func fold(_ a: UInt64, _ b: UInt64) -> UInt64 {
        let product = a.multipliedFullWidth(by: b)
        return product.high ^ product.low
    }
}

/// A set of hashes. Hashes are evenly distributed, so their low bits choose the place.
struct SeenHashes: ~Copyable {
    private var places: UnsafeMutablePointer<UInt64>
    private var capacity = 1 << 8
    private(set) var count = 0

    init() {
        places = .allocate(capacity: capacity)
        places.initialize(repeating: 0, count: capacity)
    }

    deinit { places.deallocate() }

    /// - Returns: whether the hash was not there before.
    mutating func insert(_ hash: UInt64) -> Bool {
        if 2 * count >= capacity { grow() }
        // Zero marks a free place.
        let isNew = SeenHashes.put(max(hash, 1), into: places, capacity)
        if isNew { count += 1 }
        return isNew
    }

    private mutating func grow() {
        let larger = UnsafeMutablePointer<UInt64>.allocate(capacity: 4 * capacity)
        larger.initialize(repeating: 0, count: 4 * capacity)
        for index in 0..<capacity where places[index] != 0 { _ = SeenHashes.put(places[index], into: larger, 4 * capacity) }
        places.deallocate()
        places = larger
        capacity *= 4
    }

    @inline(__always)
    private static func put(_ hash: UInt64, into places: UnsafeMutablePointer<UInt64>, _ capacity: Int) -> Bool {
        var place = Int(truncatingIfNeeded: hash) & (capacity - 1)
        while places[place] != 0 {
            if places[place] == hash { return false }
            place = (place + 1) & (capacity - 1)
        }
        places[place] = hash
        return true
    }
}

extension Parser {
    /// The hash of the last sample's series: equal for equal metric names and labels, in any order and spelling. Labels with an empty value
    /// count as absent, as in Prometheus.
    var seriesHash: UInt64 {
        guard start < name.lowerBound, !isNameQuoted else { return seriesHash(withNameHash: NameBytes(text[name]).hash) }
        // For Prometheus 3, blanks before the name are part of it.
        return seriesHash(withNameHash: NameBytes(text[start..<name.upperBound]).hash)
    }

    /// The same, when the hash of the sample's name is known.
    func seriesHash(withNameHash nameHash: UInt64) -> UInt64 {
        let keyed = SeriesHash.keyed
        var sum = nameHash
        for index in 0..<labels.count {
            let label = labels[index]
            guard !label.value.isEmpty else { continue }
            // Addition gives the same sum for any order of the labels.
            sum &+= keyed.label(hash(text[label.name], keyed), bound(label).map(keyed.number) ?? hash(text[label.value], keyed))
        }
        return sum
    }

    /// The value of `le` of a histogram or `quantile` of a summary, which Prometheus 3 reads as a number: `1` and `1.0` are the same.
    @inline(__always)
    private func bound(_ label: Label) -> Double? {
        switch lastType {
        case .histogram where label.name.count == 2 && text.holds("le", at: label.name.lowerBound): number(text[label.value])
        case .summary where label.name.count == 8 && text.holds("quantile", at: label.name.lowerBound): number(text[label.value])
        default: nil
        }
    }

    private func number(_ token: UnsafeRawBufferPointer) -> Double? {
        SampleValue.judge(token) == .valid ? Double(String(decoding: token, as: UTF8.self)) : nil
    }

    @inline(__always)
    private func hash(_ bytes: UnsafeRawBufferPointer, _ keyed: SeriesHash) -> UInt64 {
        NameBytes.hasEscape(bytes) ? NameBytes(bytes).hash : keyed.hash(bytes)
    }

    /// Where the last sample's name and labels stand.
    var series: Range<Int> {
        guard closeBrace >= 0 else { return name }
        // A quoted name is within the braces.
        return min(name.lowerBound, openBrace)..<closeBrace + 1
    }
}
