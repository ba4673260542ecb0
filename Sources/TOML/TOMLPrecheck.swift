/// Checks a text before toml++ parses it: the parser recurses as deep as the text demands, and reports the position of encoding errors
/// only roughly.
enum TOMLPrecheck {
    static func check(_ text: [UInt8]) throws(TOMLSyntaxError) {
        guard text.count <= TOMLDocument.maxSize else {
            throw TOMLSyntaxError(
                position: TOMLPosition(line: 1, column: 1),
                message: "the file has \(text.count) bytes, more than the \(TOMLDocument.maxSize) allowed")
        }
        try checkEncoding(text)
        try checkDepth(text)
    }

    /// Checks that all of it is UTF-8 without NUL.
    private static func checkEncoding(_ text: [UInt8]) throws(TOMLSyntaxError) {
        var position = TOMLPosition(line: 1, column: 1)
        var parser = Unicode.UTF8.ForwardParser()
        var bytes = text.dropFirst(text.starts(with: byteOrderMark) ? byteOrderMark.count : 0).makeIterator()
        while true {
            switch parser.parseScalar(from: &bytes) {
            case .emptyInput: return
            case .error: throw TOMLSyntaxError(position: position, message: "not valid UTF-8; a config file is plain UTF-8 text")
            case .valid(let scalar):
                switch scalar.first {
                case 0: throw TOMLSyntaxError(position: position, message: "a NUL byte; a config file is plain UTF-8 text")
                case newline: position = TOMLPosition(line: position.line + 1, column: 1)
                default: position.column += 1
                }
            }
        }
    }

    /// Checks that no key has too many parts and that brackets do not nest too deep. It reads tokens as toml++ does, up to the first one
    /// that is not TOML, because toml++ stops there.
    private static func checkDepth(_ text: [UInt8]) throws(TOMLSyntaxError) {
        var index = 0
        var dots = 0
        var nesting = 0
        while index < text.count {
            switch text[index] {
            case quote, apostrophe:
                index = endOfString(text, from: index)
                continue
            case hash:
                while index < text.count, text[index] != newline { index += 1 }
                continue
            case dot:
                dots += 1
                guard dots < TOMLDocument.maxKeyParts else {
                    throw TOMLSyntaxError(
                        position: position(of: index, in: text), message: "a key has more than \(TOMLDocument.maxKeyParts) parts")
                }
            case UInt8(ascii: "["), UInt8(ascii: "{"):
                if nesting == 0, text[index] == UInt8(ascii: "["), isFirstOnLine(index, in: text) { try checkTableName(text, at: index) }
                dots = 0
                nesting += 1
                guard nesting <= TOMLDocument.maxNesting else {
                    throw TOMLSyntaxError(
                        position: position(of: index, in: text),
                        message: "arrays and inline tables are nested deeper than \(TOMLDocument.maxNesting)")
                }
            case UInt8(ascii: "]"), UInt8(ascii: "}"):
                dots = 0
                nesting = max(0, nesting - 1)
            case newline, UInt8(ascii: "="), UInt8(ascii: ","):
                dots = 0
            default: break
            }
            index += 1
        }
    }

    /// toml++ assumes that a table's name begins like a key.
    private static func checkTableName(_ text: [UInt8], at bracket: Int) throws(TOMLSyntaxError) {
        func skipSpace(_ index: inout Int) {
            while index < text.count, text[index] == space || text[index] == tab { index += 1 }
        }
        var index = bracket + 1
        skipSpace(&index)
        if index < text.count, text[index] == UInt8(ascii: "[") {
            index += 1
            skipSpace(&index)
        }
        guard index < text.count else { return }
        switch text[index] {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "0")...UInt8(ascii: "9"),
            UInt8(ascii: "_"), UInt8(ascii: "-"), quote, apostrophe, UInt8(ascii: "]"):
            return
        default:
            throw TOMLSyntaxError(
                position: position(of: index, in: text), message: "a table's name begins with a letter, a digit, _ or -, or is in quotes")
        }
    }

    private static func isFirstOnLine(_ index: Int, in text: [UInt8]) -> Bool {
        let before = text[..<index].last { $0 != space && $0 != tab }
        return before == nil || before == newline || (index <= byteOrderMark.count && text.starts(with: byteOrderMark))
    }

    /// The index after the string that begins at `start`, or of the newline that cuts a one-line string short.
    private static func endOfString(_ text: [UInt8], from start: Int) -> Int {
        let delimiter = text[start]
        let escapes = delimiter == quote
        let isMultiline = text[start...].starts(with: [delimiter, delimiter, delimiter])
        var index = start + (isMultiline ? 3 : 1)
        while index < text.count {
            if escapes, text[index] == backslash {
                index += 2
            } else if isMultiline, text[index...].starts(with: [delimiter, delimiter, delimiter]) {
                index += 3
                // Up to two delimiters may come just before the end.
                for _ in 0..<2 where index < text.count && text[index] == delimiter { index += 1 }
                return index
            } else if !isMultiline, text[index] == delimiter {
                return index + 1
            } else if !isMultiline, text[index] == newline {
                return index
            } else {
                index += 1
            }
        }
        return text.count
    }

    private static func position(of index: Int, in text: [UInt8]) -> TOMLPosition {
        let before = text[..<index]
        let lineStart = before.lastIndex(of: newline).map { $0 + 1 } ?? (text.starts(with: byteOrderMark) ? byteOrderMark.count : 0)
        // Each code point has one byte that is not a continuation.
        let column = text[lineStart..<index].count { $0 & 0xC0 != 0x80 } + 1
        return TOMLPosition(line: before.count { $0 == newline } + 1, column: column)
    }

    private static let byteOrderMark: [UInt8] = [0xEF, 0xBB, 0xBF]
    private static let space = UInt8(ascii: " ")
    private static let tab = UInt8(ascii: "\t")
    private static let newline = UInt8(ascii: "\n")
    private static let quote = UInt8(ascii: "\"")
    private static let apostrophe = UInt8(ascii: "'")
    private static let backslash = UInt8(ascii: "\\")
    private static let hash = UInt8(ascii: "#")
    private static let dot = UInt8(ascii: ".")
}
