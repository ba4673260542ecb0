/// Reads the text format entry by entry, and accepts exactly what the parser of Prometheus 3 accepts.
///
/// An entry is a sample, a HELP or TYPE line or a comment. It is one line, unless a quoted string in it holds a newline, as Prometheus
/// allows. The parser's properties have the ranges of the entry until the next call of `next`.
struct Parser: ~Copyable {
    enum Entry {
        case end
        case comment
        case help
        case type
        case sample
    }

    /// The longest name or value that Prometheus can store, in bytes: it writes the length in three bytes. With a longer one its process
    /// ends, or it reads the labels of other series wrongly.
    static let maxLabelLength = (1 << 24) - 1

    /// The most labels of one sample that are read. Prometheus has no limit, but millions of labels would take hundreds of bytes of memory
    /// each, and Prometheus before 2.44 takes minutes for tens of thousands without a value.
    static let maxLabels = 10_000

    let text: Text
    /// Whether all of the text is UTF-8, so that no part of it has to be checked again.
    private let isUTF8: Bool
    /// Where the next entry begins.
    private var position = 0
    /// Whether the sample's name was read; it may be within the braces.
    private var hasName = false

    /// The entry's first byte, including blanks before it.
    private(set) var start = 0
    /// The name of a sample's, HELP's or TYPE's metric, without quotes.
    private(set) var name = 0..<0
    private(set) var isNameQuoted = false
    /// The positions of a sample's braces; negative without braces.
    private(set) var openBrace = -1
    private(set) var closeBrace = -1
    private(set) var labels = LabelList()
    /// A sample's value, a TYPE's word, or the text of a HELP.
    private(set) var value = 0..<0
    /// The type of the last TYPE line. Prometheus reads samples by it, whatever their names are.
    private(set) var lastType: MetricType?
    /// Whether a comment is UTF-8. Prometheus does not require it.
    private(set) var isCommentUTF8 = true

    /// - Parameters:
    ///   - text: contains no NUL. It must stay in place as long as the parser lives.
    ///   - isUTF8: whether all of it is valid UTF-8.
    init(_ text: Text, isUTF8: Bool) {
        self.text = text
        self.isUTF8 = isUTF8
    }

    /// The position of the newline at the end of a sample.
    var newline: Int { position - 1 }

    /// Continues with the line after the one in which the last entry began.
    mutating func skipLine() {
        position = text.lineEnd(start) + 1
    }

    /// Reads the next entry. After a fault, `skipLine` must be called first.
    mutating func next() throws(Fault) -> Entry {
        let text = text
        var index = position
        var blankLines = 0
        while index < text.count {
            start = index
            index = text.blanksEnd(index)
            let byte = text[index]
            if Text.isNameStart(byte) { return try sample(index) }
            switch byte {
            case UInt8(ascii: "\n"):
                blankLines += 1
                guard blankLines <= Validator.maxBlankLines else { throw tooManyBlankLines() }
                index += 1
            case UInt8(ascii: "#"): return try comment(index)
            case UInt8(ascii: "{"): return try sampleWithQuotedName(index)
            case UInt8(ascii: "\r") where text[index + 1] == UInt8(ascii: "\n"): throw Fault(.carriageReturn, at: index)
            case 0xEF where index == 0 && text.holds("\u{FEFF}", at: 0): throw Fault(.byteOrderMark, at: index)
            default: throw Fault(.badStart, at: index)
            }
        }
        position = index
        return .end
    }

    /// Makes one fault of all blank lines that are left of the row: the next entry follows them.
    @inline(never)
    private mutating func tooManyBlankLines() -> Fault {
        let first = start
        var index = first
        while index < text.count, text[text.blanksEnd(index)] == UInt8(ascii: "\n") {
            start = index
            index = text.blanksEnd(index) + 1
        }
        return Fault(.tooManyBlankLines, at: first)
    }

    // MARK: Comments

    private mutating func comment(_ hash: Int) throws(Fault) -> Entry {
        let text = text
        var index = text.blanksEnd(hash + 1)
        let isHelp = text.holds("HELP", at: index)
        guard index > hash + 1, isHelp || text.holds("TYPE", at: index), Text.isBlank(text[index + 4]) else {
            let end = text.lineEnd(index)
            isCommentUTF8 = isUTF8 || text.isUTF8(index..<end)
            position = end + 1
            return .comment
        }
        index = text.blanksEnd(index + 4)
        if Text.isNameStart(text[index]) {
            let end = text.metricNameEnd(index)
            name = index..<end
            isNameQuoted = false
            index = end
        } else if text[index] == UInt8(ascii: "\"") {
            guard let end = text.stringEnd(index) else { throw fault(.openQuote, at: index) }
            name = index + 1..<end
            isNameQuoted = true
            index = end + 1
        } else {
            throw Fault(.metaWithoutName(isHelp: isHelp), at: index)
        }
        // Like Prometheus, drop one byte of any value after the name, unless only blanks follow.
        let end = text.lineEnd(index)
        let first = text.blanksEnd(index) == end ? end : index + 1
        value = first..<end
        position = end + 1
        guard isHelp else {
            guard let type = MetricType(text[value]) else { throw fault(.unknownType, at: first, to: end) }
            lastType = type
            return .type
        }
        // If the dropped byte begins a longer character, the rest is not UTF-8.
        if isUTF8 ? text[index] >= 0x80 : !text.isUTF8(value) {
            throw fault(text[index] >= 0x80 ? .helpCutsCharacter : .helpNotUTF8, at: index)
        }
        return .help
    }

    // MARK: Samples

    private mutating func sample(_ first: Int) throws(Fault) -> Entry {
        let end = text.metricNameEnd(first)
        // Blanks before the name are part of it.
        guard end - start <= Parser.maxLabelLength else { throw fault(.labelTooLong, at: first) }
        name = first..<end
        hasName = true
        isNameQuoted = false
        let index = text.blanksEnd(end)
        if text[index] == UInt8(ascii: "{") { return try sampleValue(try braces(index)) }
        openBrace = -1
        closeBrace = -1
        labels.removeAll()
        return try sampleValue(index)
    }

    /// The name is a quoted string within the braces.
    private mutating func sampleWithQuotedName(_ open: Int) throws(Fault) -> Entry {
        hasName = false
        let index = try braces(open)
        guard hasName else { throw fault(.noMetricName, at: open) }
        return try sampleValue(index)
    }

    /// - Parameter open: the position of the brace.
    /// - Returns: the position after the closing brace.
    private mutating func braces(_ open: Int) throws(Fault) -> Int {
        let text = text
        openBrace = open
        labels.removeAll()
        var index = text.blanksEnd(open + 1)
        while text[index] != UInt8(ascii: "}") {
            let nameStart: Int
            let nameEnd: Int
            if Text.isLabelStart(text[index]) {
                nameStart = index
                nameEnd = text.labelNameEnd(index)
                index = text.blanksEnd(nameEnd)
            } else if text[index] == UInt8(ascii: "\"") {
                guard let end = text.stringEnd(index) else { throw fault(.openQuote, at: index) }
                nameStart = index + 1
                nameEnd = end
                index = text.blanksEnd(end + 1)
                if text[index] == UInt8(ascii: ",") || text[index] == UInt8(ascii: "}") {
                    try takeQuotedName(nameStart..<nameEnd)
                    if text[index] == UInt8(ascii: ",") { index = text.blanksEnd(index + 1) }
                    continue
                }
            } else {
                throw fault(.badLabelName, at: index)
            }
            guard text[index] == UInt8(ascii: "=") else { throw fault(.noEqualsSign, at: index) }
            index = text.blanksEnd(index + 1)
            guard text[index] == UInt8(ascii: "\"") else { throw fault(.noLabelValue, at: index) }
            guard let valueEnd = text.stringEnd(index) else { throw fault(.openQuote, at: index) }
            guard labels.count < Parser.maxLabels else { throw fault(.tooManyLabels, at: nameStart) }
            let label = Label(nameStart: nameStart, nameEnd: nameEnd, valueStart: index + 1, valueEnd: valueEnd)
            if !isUTF8 || label.needsCheck(in: text) { try check(label) }
            labels.append(label, sketch: label.sketch(in: text))
            // The comma between labels is optional, and one may follow the last label.
            index = text.blanksEnd(valueEnd + 1)
            if text[index] == UInt8(ascii: ",") { index = text.blanksEnd(index + 1) }
        }
        closeBrace = index
        if labels.mayRepeat { try refuseRepeatedLabels() }
        return text.blanksEnd(index + 1)
    }

    private mutating func takeQuotedName(_ range: Range<Int>) throws(Fault) {
        guard !hasName else { throw fault(.secondMetricName, at: range.lowerBound - 1, to: range.upperBound + 1) }
        guard !range.isEmpty else { throw fault(.emptyName, at: range.lowerBound - 1) }
        guard isUTF8 || text.isUTF8(range) else { throw fault(.nameNotUTF8, at: range.lowerBound) }
        guard range.count <= Parser.maxLabelLength else { throw fault(.labelTooLong, at: range.lowerBound) }
        name = range
        hasName = true
        isNameQuoted = true
    }

    private func check(_ label: Label) throws(Fault) {
        let name = label.name
        let value = label.value
        guard isUTF8 || text.isUTF8(value) else { throw fault(.labelValueNotUTF8, at: value.lowerBound) }
        guard name.count <= Parser.maxLabelLength, value.count <= Parser.maxLabelLength else {
            throw fault(.labelTooLong, at: name.lowerBound)
        }
        if name.count == 8, text.holds("__name__", at: name.lowerBound) {
            throw fault(.reservedLabel, at: name.lowerBound, to: name.upperBound)
        }
        // Prometheus drops a label without a value before it looks at its name.
        guard !value.isEmpty else { return }
        guard !name.isEmpty else { throw fault(.emptyName, at: name.lowerBound - 1) }
        guard isUTF8 || text.isUTF8(name) else { throw fault(.nameNotUTF8, at: name.lowerBound) }
    }

    /// - Parameter first: the position where the value must begin.
    private mutating func sampleValue(_ first: Int) throws(Fault) -> Entry {
        let text = text
        let digits = text[first] == UInt8(ascii: "-") ? first + 1 : first
        var index = text.digitsEnd(digits)
        if text[index] == UInt8(ascii: "."), index > digits { index = text.digitsEnd(index + 1) }
        // Nearly all values are such numbers; a longer one could be too large.
        if index == digits || index - digits > 300 || !Text.isValueEnd(text[index]) {
            index = text.valueEnd(index)
            guard index > first else { throw fault(.noValue, at: index) }
            switch SampleValue.judge(text[first..<index]) {
            case .valid: break
            case .malformed: throw fault(.badValue, at: first, to: index)
            case .outOfRange: throw fault(.valueOutOfRange, at: first, to: index)
            }
        }
        value = first..<index
        index = text.blanksEnd(index)
        if text[index] != UInt8(ascii: "\n") { index = try timestamp(index) }
        position = index + 1
        return .sample
    }

    /// - Returns: the position of the newline after it.
    private func timestamp(_ first: Int) throws(Fault) -> Int {
        var index = text.digitsEnd(first)
        guard index > first else { throw fault(.badTimestamp, at: index) }
        if index - first > 18, Int64(String(decoding: text[first..<index], as: UTF8.self)) == nil {
            throw fault(.timestampOutOfRange, at: first, to: index)
        }
        index = text.blanksEnd(index)
        guard text[index] == UInt8(ascii: "\n") else { throw fault(.textAfterTimestamp, at: index) }
        return index
    }

    /// Two labels of one name are an error, unless one of them is empty: then Prometheus drops all labels of this name.
    private func refuseRepeatedLabels() throws(Fault) {
        var seen: [NameBytes: (hasEmpty: Bool, second: Range<Int>?)] = [:]
        for index in 0..<labels.count {
            let label = labels[index]
            let name = NameBytes(text[label.name])
            if let known = seen[name] {
                seen[name] = (known.hasEmpty || label.value.isEmpty, known.second ?? label.name)
            } else {
                seen[name] = (label.value.isEmpty, nil)
            }
        }
        let repeated = seen.values.compactMap { $0.hasEmpty ? nil : $0.second }
        guard let first = repeated.min(by: { $0.lowerBound < $1.lowerBound }) else { return }
        throw fault(.repeatedLabel, at: first.lowerBound, to: first.upperBound)
    }

    /// Returns the fault. If the entry continues on the next line within quotes, it returns a missing quote instead.
    @inline(never)
    private func fault(_ kind: Fault.Kind, at offset: Int, to end: Int? = nil) -> Fault {
        let newline = text.lineEnd(start)
        guard newline < offset else { return Fault(kind, at: offset, to: end) }
        // The last quote that opens in the first line.
        var open = start
        var index = start
        var isOpen = false
        while index < newline {
            if isOpen, text[index] == UInt8(ascii: "\\") {
                index += 1
            } else if text[index] == UInt8(ascii: "\"") {
                isOpen.toggle()
                if isOpen { open = index }
            }
            index += 1
        }
        return Fault(.openQuoteInEarlierLine, at: open)
    }
}

/// The types that a TYPE line may name.
enum MetricType: String {
    case counter
    case gauge
    case histogram
    case summary
    case untyped

    init?(_ word: UnsafeRawBufferPointer) {
        guard word.count <= 9 else { return nil }
        self.init(rawValue: String(decoding: word, as: UTF8.self))
    }
}
