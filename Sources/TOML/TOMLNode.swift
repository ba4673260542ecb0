/// A value of a TOML document, and its position.
public struct TOMLNode: Equatable, Sendable {
    /// The types of TOML 1.0.
    public enum Value: Equatable, Sendable {
        case table(TOMLTable)
        case array([TOMLNode])
        case string(String)
        case integer(Int64)
        case float(Double)
        case boolean(Bool)
        /// A date, a time or both, as TOML writes it.
        case datetime(String)
    }

    /// The value.
    public var value: Value
    /// Where the value begins; for a table with a header, the position of the header's bracket.
    public var position: TOMLPosition

    /// Makes a value at a position.
    public init(_ value: Value, at position: TOMLPosition) {
        self.value = value
        self.position = position
    }
}

/// A table: its keys in the order of the file.
public struct TOMLTable: Equatable, Sendable {
    /// One key and its value.
    public struct Entry: Equatable, Sendable {
        /// The key, unquoted; one part of a dotted key.
        public var key: String
        /// Where the key begins. For a table that several headers and dotted keys name, the first of them.
        public var keyPosition: TOMLPosition
        /// Its value.
        public var node: TOMLNode

        /// A key with its value.
        public init(key: String, keyPosition: TOMLPosition, node: TOMLNode) {
            self.key = key
            self.keyPosition = keyPosition
            self.node = node
        }
    }

    /// Keys are unique.
    public var entries: [Entry]

    /// A table of these entries, whose keys are unique.
    public init(entries: [Entry] = []) { self.entries = entries }

    /// The value of `key`; keys are compared byte by byte.
    public subscript(key: String) -> TOMLNode? {
        entries.first { $0.key.utf8.elementsEqual(key.utf8) }?.node
    }
}

/// A position in a text. Lines and columns count from 1, columns in code points (a tab is one).
public struct TOMLPosition: Hashable, Comparable, Sendable {
    /// The line, from 1.
    public var line: Int
    /// The column in characters, from 1.
    public var column: Int

    /// Makes a position; both numbers count from 1.
    public init(line: Int, column: Int) {
        self.line = line
        self.column = column
    }

    /// Whether `a` comes before `b`.
    public static func < (a: TOMLPosition, b: TOMLPosition) -> Bool { (a.line, a.column) < (b.line, b.column) }
}
