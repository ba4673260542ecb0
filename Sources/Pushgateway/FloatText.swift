import Glibc

/// Numbers of the text format: those that Go's `ParseFloat` reads, without hexadecimal floats and underscores.
enum FloatText {
    /// The number in `text`; `nil` when it is not a number, or too large for a double.
    static func number(in text: UnsafeRawBufferPointer) -> Double? {
        // strtod accepts more than the format (hexadecimal, `nan(…)`, white space) and needs a final NUL.
        guard (1...maxLength).contains(text.count) else { return nil }
        if let word = word(in: text) { return word }
        guard isDecimal(text) else { return nil }
        return withUnsafeTemporaryAllocation(byteCount: text.count + 1, alignment: 1) { copy in
            copy.copyMemory(from: text)
            copy[text.count] = 0
            guard let start = copy.baseAddress?.assumingMemoryBound(to: CChar.self) else { return nil }
            let value = strtod(start, nil)
            return value.isInfinite ? nil : value
        }
    }

    /// The number as text: whole numbers without a fraction, others with as few digits as possible.
    static func text(of value: Double) -> String {
        if value.isNaN { return "NaN" }
        if value.isInfinite { return value > 0 ? "+Inf" : "-Inf" }
        // Every whole number below 2^53 is exact, and so has no exponent.
        if value.magnitude < 9_007_199_254_740_992, value == value.rounded(.towardZero), !(value == 0 && value.sign == .minus) {
            return String(Int64(value))
        }
        return value.description
    }

    /// No number needs as many characters, so longer text is refused without reading it.
    private static let maxLength = 1024

    /// `Inf`, `infinity` and `NaN`, whatever their case; only infinity has a sign.
    private static func word(in text: UnsafeRawBufferPointer) -> Double? {
        let isNegative = text[0] == UInt8(ascii: "-")
        let hasSign = isNegative || text[0] == UInt8(ascii: "+")
        let letters = text.dropFirst(hasSign ? 1 : 0).lazy.map { $0 | 0x20 }
        if letters.elementsEqual("inf".utf8) || letters.elementsEqual("infinity".utf8) { return isNegative ? -.infinity : .infinity }
        return !hasSign && letters.elementsEqual("nan".utf8) ? .nan : nil
    }

    /// A sign, digits with at most one point, and an exponent.
    private static func isDecimal(_ text: UnsafeRawBufferPointer) -> Bool {
        var rest = text[...]
        if let sign = rest.first, sign == UInt8(ascii: "+") || sign == UInt8(ascii: "-") { rest.removeFirst() }
        let whole = dropDigits(&rest)
        var fraction = 0
        if rest.first == UInt8(ascii: ".") {
            rest.removeFirst()
            fraction = dropDigits(&rest)
        }
        guard whole + fraction > 0 else { return false }
        if let exponent = rest.first, exponent | 0x20 == UInt8(ascii: "e") {
            rest.removeFirst()
            if let sign = rest.first, sign == UInt8(ascii: "+") || sign == UInt8(ascii: "-") { rest.removeFirst() }
            guard dropDigits(&rest) > 0 else { return false }
        }
        return rest.isEmpty
    }

    private static func dropDigits(_ text: inout Slice<UnsafeRawBufferPointer>) -> Int {
        let before = text.count
        text = text.drop { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }
        return before - text.count
    }
}
