/// The valid values of a sample: the words and numbers that Go's `strconv.ParseFloat` accepts, without `p`, `P` and `_`, which Prometheus
/// forbids. So hexadecimal numbers are invalid.
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

    /// More digits than the middle between the largest float and the next one has, so that further digits do not matter.
    private static let maxSignificant = 400

    static func isDigit(_ byte: UInt8) -> Bool { byte &- UInt8(ascii: "0") < 10 }
}
