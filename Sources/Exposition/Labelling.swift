import Glibc

/// Labels that every sample of an app gets.
public struct AddedLabels: Equatable, Sendable {
    /// A label's name and its unescaped value.
    public struct Label: Equatable, Sendable {
        /// Matches `[a-zA-Z_][a-zA-Z0-9_]*`.
        public var name: String
        /// Any text.
        public var value: String

        /// Makes a label from its parts.
        public init(name: String, value: String) {
            self.name = name
            self.value = value
        }
    }

    /// The labels in the order in which they are written. Names are unique.
    public let labels: [Label]

    /// Their text in the braces, without a comma before it.
    let text: [UInt8]
    /// Their names as bytes.
    let names: [[UInt8]]

    /// - Parameter labels: names match `[a-zA-Z_][a-zA-Z0-9_]*` and are unique.
    public init(_ labels: [Label]) {
        self.labels = labels
        names = labels.map { Array($0.name.utf8) }
        text = Array(labels.map { "\($0.name)=\"\(AddedLabels.escaped($0.value))\"" }.joined(separator: ",").utf8)
    }

    /// Whether there is none.
    public var isEmpty: Bool { labels.isEmpty }

    /// The most bytes of a text of `size` bytes when each of its samples has these labels. A sample has four bytes or more, as `a 1` and a
    /// newline.
    public func mostBytes(in size: Int) -> Int { size + (size / 4 + 1) * (text.count + "{},".utf8.count) }

    /// A label's value as it is written between quotes. `FamilyText` in Pushgateway, which imports no other module, does the same.
    public static func escaped(_ value: String) -> String {
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

/// The changes that adding labels makes in one text. They are found first, so that the new text can be written into memory of its exact
/// size.
///
/// New labels come last within a sample's braces. A label of the sample with the name of a new one gets `exported_` before its name, as
/// often as needed to make it unique. Everything else stays as it is.
public struct Labelling: Sendable {
    /// The number of samples.
    public private(set) var samples = 0
    /// Bytes of the labelled text.
    public private(set) var size: Int

    /// One insertion: 48 bits for the offset, 16 bits for the kind.
    private var insertions: [UInt64] = []
    private let texts: [[UInt8]]
    /// How many labels a sample may have before the new ones.
    private let mostLabels: Int

    private static let inBraces: UInt64 = 0
    private static let afterLabel: UInt64 = 1
    private static let withBraces: UInt64 = 2
    /// From this kind on: the difference plus one is how often `exported_` is inserted.
    private static let firstExported: UInt64 = 3
    private static let exported = Array("exported_".utf8)
    private static let maxExported = 0xFFFF - Int(firstExported)

    /// Checks a text and finds where labels go.
    /// - Parameters:
    ///   - text: ends in a newline, unless it is empty.
    ///   - most: the most bytes that the labelled text may have. The search ends once `size` is beyond that; do not call `write` then.
    ///   - countsAdded: whether a sample that has too many labels with the added ones is an error. Otherwise it gets them nevertheless.
    /// - Throws: the first error of an invalid text. It gets no labels.
    public init(
        of text: UnsafeRawBufferPointer, adding added: AddedLabels, with validator: Validator = Validator(), most: Int = .max,
        countsAdded: Bool = true
    ) throws(Finding) {
        mostLabels = countsAdded ? Parser.maxLabels - added.labels.count : .max
        texts = [added.text, Array(",".utf8) + added.text, Array("{".utf8) + added.text + Array("}".utf8)]
        size = text.count
        do throws(Fault) {
            try find(in: text, added, validator, most: most)
        } catch {
            throw error.finding(in: text)
        }
    }

    /// Writes the labelled text.
    /// - Parameters:
    ///   - text: the same bytes that this labelling was made from.
    ///   - destination: has room for exactly `size` bytes and does not overlap with the text.
    public func write(_ text: UnsafeRawBufferPointer, to destination: UnsafeMutableRawBufferPointer) {
        precondition(destination.count == size)
        guard let source = text.baseAddress, var output = destination.baseAddress else { return }
        var copied = 0
        for insertion in insertions {
            let offset = Int(insertion >> 16)
            memcpy(output, source + copied, offset - copied)
            output += offset - copied
            copied = offset
            let kind = insertion & 0xFFFF
            if kind < Labelling.firstExported {
                texts[Int(kind)].withUnsafeBytes { inserted in
                    if let start = inserted.baseAddress { memcpy(output, start, inserted.count) }
                    output += inserted.count
                }
            } else {
                for _ in 0...Int(kind - Labelling.firstExported) {
                    Labelling.exported.withUnsafeBytes { output.copyMemory(from: $0.baseAddress ?? source, byteCount: $0.count) }
                    output += Labelling.exported.count
                }
            }
        }
        memcpy(output, source + copied, text.count - copied)
    }

    // MARK: Where labels go

    private mutating func find(
        in text: UnsafeRawBufferPointer, _ added: AddedLabels, _ validator: Validator, most: Int
    ) throws(Fault) {
        var parser = try validator.parser(for: text)
        // About one for each line.
        insertions.reserveCapacity(text.count / 64)
        while size <= most {
            switch try validator.next(&parser) {
            case .end: return
            case .sample:
                samples += 1
                if !added.isEmpty { try label(parser, added) }
            default: break
            }
        }
    }

    @inline(__always)
    private mutating func label(_ parser: borrowing Parser, _ added: AddedLabels) throws(Fault) {
        // A later check reads the sample with all of its labels.
        guard parser.labels.count <= mostLabels else {
            throw Fault(.tooManyLabels, at: parser.name.lowerBound)
        }
        guard parser.closeBrace >= 0 else {
            insert(Labelling.withBraces, at: parser.name.upperBound)
            return
        }
        if hasLabelOf(added, parser) { try rename(parser, added) }
        // The last byte before the brace that is not a blank.
        var last = parser.closeBrace - 1
        while Text.isBlank(parser.text[last]) { last -= 1 }
        let needsComma = last > parser.openBrace && parser.text[last] != UInt8(ascii: ",")
        insert(needsComma ? Labelling.afterLabel : Labelling.inBraces, at: parser.closeBrace)
    }

    private mutating func insert(_ kind: UInt64, at offset: Int) {
        insertions.append(UInt64(offset) << 16 | kind)
        size +=
            kind < Labelling.firstExported ? texts[Int(kind)].count : (Int(kind - Labelling.firstExported) + 1) * Labelling.exported.count
    }

    /// Whether the sample has a label with the name of an added one. The names have no escapes, so bytes can be compared.
    private func hasLabelOf(_ added: AddedLabels, _ parser: borrowing Parser) -> Bool {
        for index in 0..<parser.labels.count {
            let label = parser.labels[index]
            for name in added.names where Labelling.equals(parser.text, label.name, name) { return true }
        }
        return false
    }

    private static func equals(_ text: Text, _ range: Range<Int>, _ name: [UInt8]) -> Bool {
        guard range.count == name.count else { return false }
        var index = 0
        while index < name.count {
            guard text[range.lowerBound + index] == name[index] else { return false }
            index += 1
        }
        return true
    }

    /// Finds a new name for each label with the name of an added one. One pass over the sample's labels for each added label.
    private mutating func rename(_ parser: borrowing Parser, _ added: AddedLabels) throws(Fault) {
        var renamed: [(offset: Int, times: Int)] = []
        var chosen: [[UInt8]] = []
        for name in added.names {
            // How many `exported_` come before this name, in each name that is taken.
            var taken: Set<Int> = []
            var places: [Int] = []
            for index in 0..<parser.labels.count {
                let range = parser.labels[index].name
                guard let times = Labelling.timesExported(parser.text[range], name) else { continue }
                taken.insert(times)
                if times == 0 { places.append(range.lowerBound) }
            }
            guard !places.isEmpty else { continue }
            for other in added.names + chosen {
                if let times = other.withUnsafeBytes({ Labelling.timesExported($0, name) }) { taken.insert(times) }
            }
            var times = 1
            while taken.contains(times) { times += 1 }
            guard times <= Labelling.maxExported, name.count + times * Labelling.exported.count <= Parser.maxLabelLength else {
                throw Fault(.labelTooLong, at: places[0])
            }
            chosen.append(Array(repeatElement(Labelling.exported, count: times).joined()) + name)
            for place in places { renamed.append((place, times)) }
        }
        renamed.sort { $0.offset < $1.offset }
        for (offset, times) in renamed { insert(Labelling.firstExported + UInt64(times - 1), at: offset) }
    }

    /// How many `exported_` come before `name` in `label`; `nil` when `label` is not such a name.
    private static func timesExported(_ label: UnsafeRawBufferPointer, _ name: [UInt8]) -> Int? {
        let length = label.count - name.count
        guard length >= 0, length % exported.count == 0, label[length...].elementsEqual(name) else { return nil }
        for index in 0..<length where label[index] != exported[index % exported.count] { return nil }
        return length / exported.count
    }
}
