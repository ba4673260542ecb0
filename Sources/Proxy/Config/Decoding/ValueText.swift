import TOML

/// How messages show what stands in the file.
enum ValueText {
    /// `the integer 5`, `the string "abc"`, `an array`; what is a secret is just `a string` or `an integer`: a password may be a number.
    static func describe(_ value: TOMLNode.Value, shown: (String) -> String? = { $0 }) -> String {
        switch value {
        case .table: "a table"
        case .array: "an array"
        case .string(let text): shown(text).map { "the string \(quoted($0))" } ?? "a string"
        case .integer(let number): shown("\(number)").map { "the integer \($0)" } ?? "an integer"
        case .float(let number): shown("\(number)").map { "the float \($0)" } ?? "a float"
        case .boolean(let flag): "the boolean \(flag)"
        case .datetime(let text): shown(text).map { "the date or time \($0)" } ?? "a date or time"
        }
    }

    /// `text` in quotes, printable and not too long.
    static func quoted(_ text: String) -> String { "\"\(printable(text))\"" }

    /// `text` on one line: control characters escaped as in TOML, what is too long cut.
    static func printable(_ text: String) -> String {
        var result = ""
        for scalar in text.unicodeScalars.prefix(maxLength) {
            switch scalar.value {
            case 0..<0x20, 0x7F...0x9F, 0x2028, 0x2029: result += "\\u" + hexadecimal(scalar.value)
            default: result.unicodeScalars.append(scalar)
            }
        }
        return text.unicodeScalars.count > maxLength ? result + "…" : result
    }

    /// `a, b or c`.
    static func alternatives(_ words: [String]) -> String { joined(words, "or") }

    /// `a, b and c`.
    static func list(_ words: [String]) -> String { joined(words, "and") }

    private static func joined(_ words: [String], _ conjunction: String) -> String {
        guard let last = words.last, words.count > 1 else { return words.first ?? "" }
        return words.dropLast().joined(separator: ", ") + " \(conjunction) " + last
    }

    /// Whether `text` holds a control character, U+0000–001F or 007F–009F.
    static func hasControl(_ text: String) -> Bool {
        text.unicodeScalars.contains { $0.value < 0x20 || (0x7F...0x9F).contains($0.value) }
    }

    private static let maxLength = 200

    private static func hexadecimal(_ value: UInt32) -> String {
        let digits = String(value, radix: 16, uppercase: true)
        return String(repeating: "0", count: max(0, 4 - digits.count)) + digits
    }
}
