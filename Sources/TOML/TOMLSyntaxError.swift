/// Why a text is not TOML.
public struct TOMLSyntaxError: Error, Equatable, Sendable {
    /// Where a value without quotes begins, of a date and a time with a blank between them the time; or where the parser stopped.
    public var position: TOMLPosition
    /// In lower case, without a final period, on one line. It has no text of the document, which may be a secret.
    public var message: String

    /// Makes an error at a position.
    public init(position: TOMLPosition, message: String) {
        self.position = position
        self.message = message
    }
}

/// Says in words of this file what toml++ describes.
///
/// A description of toml++ quotes the text: whole numbers, keys, the beginning of a word. A password without quotes is such a number. So no
/// part of a description becomes part of a message: a message consists of literals.
enum SyntaxErrorWords {
    static func message(for description: String) -> String {
        let scope = scope(of: description)
        let fault = faults.first { description.contains("\($0.description)") }?.words ?? "it is not TOML"
        let place = scope.map { "in \("aio".contains("\($0)".prefix(1)) ? "an" : "a") \($0): " } ?? ""
        return "\(place)\(fault)\(scope.map(isBareText) == true ? "; \(quotes)" : "")"
    }

    /// Whether the parser stopped within a value that has no quotes, or at its end.
    static func isWithinBareValue(_ description: String) -> Bool {
        guard let scope = scope(of: description) else { return false }
        return isBareText(scope) || ["binary integer", "octal integer", "date-time offset"].contains("\(scope)")
    }

    private static func scope(of description: String) -> StaticString? {
        scopes.first { description.hasPrefix("Error while parsing \($0): ") }
    }

    private static let quotes: StaticString = "text and durations stand in quotes, such as \"5s\""

    /// Whether a value that toml++ reads as `scope` may be text without its quotes.
    private static func isBareText(_ scope: StaticString) -> Bool {
        switch "\(scope)" {
        case "value", "boolean", "floating-point", "decimal integer", "hexadecimal integer", "date", "time", "date-time": true
        default: false
        }
    }

    private static let scopes: [StaticString] = [
        "array", "binary integer", "boolean", "comment", "date", "date-time", "date-time offset", "decimal integer", "floating-point",
        "hexadecimal floating-point", "hexadecimal integer", "inline table", "key", "key-value pair", "literal string", "octal integer",
        "root table", "string", "table header", "time", "unicode scalar sequence", "value",
    ]

    /// The first that a description contains counts.
    private static let faults: [(description: StaticString, words: StaticString)] = [
        ("encountered end-of-file", "the file ends within it"),
        ("could not determine value type", "it has no type of TOML"),
        // Numbers, dates, booleans.
        ("not representable in 64 bits", "the number does not fit into 64 bits"),
        ("numeric value too long", "the number is too long"),
        ("length limit", "the number is too long"),
        ("underscores may only follow", "an underscore in a number stands between digits"),
        ("underscores must be followed", "an underscore in a number stands between digits"),
        ("values may not begin with underscores", "a value does not begin with an underscore"),
        ("leading zeroes are prohibited", "a number has no zeros in front"),
        ("hexadecimal floating-point values are not supported", "a fraction is not written in hexadecimal"),
        ("expected 'true'", "it is neither true nor false"),
        ("expected 'false'", "it is neither true nor false"),
        ("expected 'inf'", "it is neither a number nor inf"),
        ("expected 'nan'", "it is neither a number nor nan"),
        ("expected value-terminator", "the value goes on after its end"),
        ("expected hex digit", "an escape of a character has hexadecimal digits"),
        ("-digit ", "it is not a date or a time"),
        ("(inclusive)", "it is not a date or a time"),
        ("expected '-'", "it is not a date or a time"),
        ("expected ':'", "it is not a date or a time"),
        ("expected space, 'T'", "it is not a date or a time"),
        ("fractional", "the fraction of its seconds is not a number of TOML"),
        ("digit", "a character in it does not belong to a number"),
        ("as a value", "it is not a number, or does not fit into 64 bits"),
        ("expected 'x'", "the letter after its 0 is small: 0x, 0o or 0b"),
        ("expected 'o'", "the letter after its 0 is small: 0x, 0o or 0b"),
        ("expected 'b'", "the letter after its 0 is small: 0x, 0o or 0b"),
        // Strings.
        ("unknown escape sequence", "there is no such escape sequence; a backslash in double quotes is written \\\\"),
        ("escape sequence", "there is no such escape sequence; a backslash in double quotes is written \\\\"),
        ("line-ending backslashes", "only blank space follows a backslash at the end of a line"),
        ("values greater than", "there is no such Unicode character"),
        ("surrogates", "there is no such Unicode character"),
        ("prohibited in comments", "a comment has no control character but the tab"),
        ("control characters other than TAB", "its closing quote is missing, or a control character is not escaped"),
        ("unexpected control character", "a control character is not escaped"),
        ("multi-line strings are prohibited", "a key is not a string of several lines"),
        // Keys and tables.
        ("cannot redefine", "this name is given before, perhaps as another kind of value"),
        ("into existing inline table", "an inline table cannot be extended"),
        ("bare key starting character", "a key begins with a letter, a digit, _ or -, or is in quotes"),
        ("brackets must be contiguous", "remove the space within [[ or ]]"),
        ("blank bare keys", "the name is empty"),
        ("expected '='", "the = after the key is missing"),
        ("expected value, saw", "the value is missing"),
        ("expected ']'", "the closing ] is missing"),
        ("expected a comment or whitespace", "only a comment may follow on this line"),
        ("expected keys, tables, whitespace or comments", "here begins neither a key nor a table"),
        // Arrays and inline tables.
        ("saw comma", "there is nothing before the comma"),
        ("dangling comma", "remove the comma before the closing }"),
        ("expected comma or closing ']'", "a comma or the closing ] is missing"),
        ("expected comma or closing '}'", "a comma or the closing } is missing; an inline table stands on one line"),
        ("expected key or closing '}'", "a key or the closing } is missing; an inline table stands on one line"),
        ("maximum nested value depth", "arrays and inline tables are nested too deep"),
        // Characters between them.
        ("not legal line breaks", "a vertical tab or a form feed is not a line break"),
        ("after '\\r'", "a carriage return is not followed by a line feed"),
        ("expected space or tab", "here is neither a space nor a tab"),
        ("cannot tell where", "something in the file is not TOML, and the parser does not tell where"),
    ]
}
