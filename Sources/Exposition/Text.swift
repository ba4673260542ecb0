import CText
import Glibc

/// The bytes of a text that ends in a newline, unless it is empty, and searches in it.
///
/// It does not own its bytes, which must stay in place. Indexes are not checked: the final newline stops each function here in time, and
/// the parser reads at most one byte beyond a byte that is not a newline.
struct Text {
    let base: UnsafePointer<UInt8>
    let count: Int

    init(_ bytes: UnsafeRawBufferPointer) {
        precondition(bytes.last.map { $0 == UInt8(ascii: "\n") } ?? true && bytes.count < Int(UInt32.max))
        // The bytes of an empty text are never read.
        base = bytes.assumingMemoryBound(to: UInt8.self).baseAddress ?? UnsafePointer(Text.nothing)
        count = bytes.count
    }

    /// Safe to share: nothing is read or written there.
    private nonisolated(unsafe) static let nothing = UnsafeMutablePointer<UInt8>.allocate(capacity: 1)

    @inline(__always)
    subscript(index: Int) -> UInt8 { base[index] }

    /// The bytes of a range within the text.
    @inline(__always)
    subscript(range: Range<Int>) -> UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(start: base + range.lowerBound, count: range.count)
    }

    /// All of it.
    var bytes: UnsafeRawBufferPointer { UnsafeRawBufferPointer(start: base, count: count) }

    /// The first index from `index` on that is not a blank or tab.
    @inline(__always)
    func blanksEnd(_ index: Int) -> Int {
        var index = index
        while Text.isBlank(base[index]) { index &+= 1 }
        return index
    }

    /// The position of the newline that ends the line of `index`.
    func lineEnd(_ index: Int) -> Int {
        memchr(base + index, 0x0A, count - index).map { UnsafeRawPointer($0) - UnsafeRawPointer(base) } ?? count
    }

    @inline(__always)
    func metricNameEnd(_ index: Int) -> Int { ctext_metric_name_end(base, index, count) }

    @inline(__always)
    func labelNameEnd(_ index: Int) -> Int { ctext_label_name_end(base, index, count) }

    @inline(__always)
    func digitsEnd(_ index: Int) -> Int { ctext_digits_end(base, index, count) }

    @inline(__always)
    func valueEnd(_ index: Int) -> Int { ctext_value_end(base, index, count) }

    /// The first quote, backslash or newline from `index` on.
    @inline(__always)
    func quoteOrEscape(_ index: Int) -> Int { ctext_quoted_end(base, index, count) }

    /// The position of the closing quote of the string that opens at `quote`; `nil` when it has none. A backslash escapes any next
    /// character except a newline. A newline without a backslash is part of the string.
    @inline(__always)
    func stringEnd(_ quote: Int) -> Int? {
        let end = quoteOrEscape(quote &+ 1)
        return base[end] == UInt8(ascii: "\"") ? end : longStringEnd(end)
    }

    /// - Parameter index: the position of the first quote, backslash or newline of the string.
    @inline(never)
    private func longStringEnd(_ index: Int) -> Int? {
        var index = index
        while true {
            switch base[index] {
            case UInt8(ascii: "\""): return index
            case UInt8(ascii: "\\") where base[index + 1] != UInt8(ascii: "\n"): index += 2
            case UInt8(ascii: "\n") where index + 1 < count: index += 1
            default: return nil
            }
            index = quoteOrEscape(index)
        }
    }

    /// Whether the bytes there are `word`.
    @inline(__always)
    func holds(_ word: StaticString, at index: Int) -> Bool {
        for offset in 0..<word.utf8CodeUnitCount where base[index + offset] != word.utf8Start[offset] { return false }
        return true
    }

    func isUTF8(_ range: Range<Int>) -> Bool { String(validating: self[range], as: UTF8.self) != nil }

    /// Whether a metric name may begin with the byte.
    @inline(__always)
    static func isNameStart(_ byte: UInt8) -> Bool { isLabelStart(byte) || byte == UInt8(ascii: ":") }

    /// Whether a label name may begin with the byte.
    @inline(__always)
    static func isLabelStart(_ byte: UInt8) -> Bool { (byte | 0x20) &- UInt8(ascii: "a") < 26 || byte == UInt8(ascii: "_") }

    @inline(__always)
    static func isBlank(_ byte: UInt8) -> Bool { byte == UInt8(ascii: " ") || byte == UInt8(ascii: "\t") }

    @inline(__always)
    static func isValueEnd(_ byte: UInt8) -> Bool { isBlank(byte) || byte == UInt8(ascii: "\n") || byte == UInt8(ascii: "{") }
}

/// The valid values of a sample: the words and numbers that Go's `strconv.ParseFloat` accepts, without `p`, `P` and `_`, which Prometheus
/// forbids. So hexadecimal numbers are invalid. `FloatText` in Pushgateway, which imports no other module, has a parser of its own.
enum SampleValue {
    enum Verdict {
        case valid
        case malformed
        case outOfRange
    }

    /// Checks a whole token.
    static func judge(_ token: UnsafeRawBufferPointer) -> Verdict {
        var index = 0
        var isSigned = false
        if let first = token.first, first == UInt8(ascii: "-") || first == UInt8(ascii: "+") {
            isSigned = true
            index = 1
        }
        let word = UnsafeRawBufferPointer(rebasing: token[index...])
        if equals(word, "inf") || equals(word, "infinity") || (!isSigned && equals(word, "nan")) { return .valid }
        return number(word)
    }

    /// Whether the bytes are this word, in any letter case.
    private static func equals(_ bytes: UnsafeRawBufferPointer, _ word: StaticString) -> Bool {
        guard bytes.count == word.utf8CodeUnitCount else { return false }
        for (index, byte) in bytes.enumerated() where byte | 0x20 != word.utf8Start[index] { return false }
        return true
    }

    /// Checks decimal digits with at most one point, and an optional exponent.
    private static func number(_ token: UnsafeRawBufferPointer) -> Verdict {
        var index = 0
        var hasDigits = false
        var hasPoint = false
        /// The number of digits before the point, from the first that is not 0. Negative: the number of zeros after the point before that
        /// digit.
        var magnitude = 0
        /// The digits that decide whether a number near the limit is beyond it.
        var significant: [UInt8] = []
        while index < token.count {
            let byte = token[index]
            if byte == UInt8(ascii: "."), !hasPoint {
                hasPoint = true
            } else if isDigit(byte) {
                hasDigits = true
                if !significant.isEmpty || byte != UInt8(ascii: "0") {
                    if significant.count < maxSignificant { significant.append(byte) }
                    if !hasPoint { magnitude += 1 }
                } else if hasPoint {
                    magnitude -= 1
                }
            } else {
                break
            }
            index += 1
        }
        guard hasDigits else { return .malformed }
        var exponent = 0
        if index < token.count {
            guard token[index] | 0x20 == UInt8(ascii: "e") else { return .malformed }
            index += 1
            var isNegative = false
            if index < token.count, token[index] == UInt8(ascii: "-") || token[index] == UInt8(ascii: "+") {
                isNegative = token[index] == UInt8(ascii: "-")
                index += 1
            }
            guard index < token.count else { return .malformed }
            while index < token.count {
                guard isDigit(token[index]) else { return .malformed }
                // As in Go, all larger exponents are treated as equal, so that they do not overflow.
                if exponent < 10_000 { exponent = exponent * 10 + Int(token[index] - UInt8(ascii: "0")) }
                index += 1
            }
            if isNegative { exponent = -exponent }
        }
        guard !significant.isEmpty else { return .valid }
        // The number is 0.DIGITS times ten to this power; the largest float is 0.17976…e309.
        let power = magnitude + exponent
        if power < 309 { return .valid }
        if power > 309 { return .outOfRange }
        let text = "0." + String(decoding: significant, as: UTF8.self) + "e309"
        return Double(text).map(\.isFinite) == true ? .valid : .outOfRange
    }

    /// More digits than the midpoint between the largest float and the next one has, so further digits do not matter.
    private static let maxSignificant = 400

    static func isDigit(_ byte: UInt8) -> Bool { byte &- UInt8(ascii: "0") < 10 }
}
