import CTomlPlusPlus

/// A TOML 1.0 document as a tree of values, each with its position in the text.
public struct TOMLDocument: Equatable, Sendable {
    /// The largest text accepted, in bytes.
    public static let maxSize = 1 << 20
    /// The most parts that a dotted key or a table's header may have.
    public static let maxKeyParts = 16
    /// The deepest nesting of arrays and inline tables.
    public static let maxNesting = Int(CTOML_MAX_NESTING)

    /// The root table.
    public var root: TOMLTable

    /// Parses UTF-8. A byte order mark at the start and CRLF line ends are accepted.
    ///
    /// - Throws: the first error in the text.
    public init(parsing text: [UInt8]) throws(TOMLSyntaxError) {
        try TOMLPrecheck.check(text)
        let parsed = text.withUnsafeBytes { bytes in
            // An empty array may have no address at all.
            guard let base = bytes.baseAddress else { return ctoml_parse("", 0) }
            return ctoml_parse(base.assumingMemoryBound(to: CChar.self), bytes.count)
        }
        guard let document = parsed else {
            throw TOMLSyntaxError(position: TOMLPosition(line: 1, column: 1), message: "out of memory while parsing")
        }
        defer { ctoml_free(document) }

        var line: UInt32 = 0
        var column: UInt32 = 0
        if let description = ctoml_error(document, &line, &column) {
            let description = String(cString: description)
            var position = TOMLPosition(line: max(1, Int(line)), column: max(1, Int(column)))
            if SyntaxErrorWords.isWithinBareValue(description) { position = TOMLDocument.beginning(ofValueAt: position, in: text) }
            throw TOMLSyntaxError(position: position, message: SyntaxErrorWords.message(for: description))
        }
        var count = 0
        let nodes = UnsafeBufferPointer(start: ctoml_nodes(document, &count), count: count)
        var next = 0
        let entries = TOMLDocument.children(of: nodes, at: &next)
        self.root = TOMLTable(entries: entries)
    }

    /// Where the value begins in which, or at whose end, the parser stopped.
    private static func beginning(ofValueAt position: TOMLPosition, in text: [UInt8]) -> TOMLPosition {
        let lines = text.split(separator: UInt8(ascii: "\n"), maxSplits: position.line, omittingEmptySubsequences: false)
        guard lines.indices.contains(position.line - 1) else { return position }
        let before = String(decoding: lines[position.line - 1], as: UTF8.self).unicodeScalars.prefix(position.column - 1)
        let length = before.reversed().prefix { !" \t=[,".unicodeScalars.contains($0) }.count
        return TOMLPosition(line: position.line, column: position.column - length)
    }

    /// The table at `next`, with `next` moved past all of it.
    private static func children(of nodes: UnsafeBufferPointer<CTomlNode>, at next: inout Int) -> [TOMLTable.Entry] {
        let count = nodes[next].count
        next += 1
        var entries: [TOMLTable.Entry] = []
        entries.reserveCapacity(count)
        for _ in 0..<count {
            let child = nodes[next]
            let position = TOMLPosition(line: Int(child.key_line), column: Int(child.key_column))
            let key = text(child.key, child.key_length)
            entries.append(TOMLTable.Entry(key: key, keyPosition: position, node: node(of: nodes, at: &next)))
        }
        // toml++ keeps keys in order of their names.
        entries.sort { $0.keyPosition < $1.keyPosition }
        return entries
    }

    private static func node(of nodes: UnsafeBufferPointer<CTomlNode>, at next: inout Int) -> TOMLNode {
        let source = nodes[next]
        let position = TOMLPosition(line: Int(source.line), column: Int(source.column))
        if source.kind == CTOML_TABLE {
            return TOMLNode(.table(TOMLTable(entries: children(of: nodes, at: &next))), at: position)
        }
        next += 1
        switch source.kind {
        case CTOML_ARRAY:
            var elements: [TOMLNode] = []
            elements.reserveCapacity(source.count)
            for _ in 0..<source.count { elements.append(node(of: nodes, at: &next)) }
            return TOMLNode(.array(elements), at: position)
        case CTOML_INTEGER: return TOMLNode(.integer(source.integer), at: position)
        case CTOML_FLOAT: return TOMLNode(.float(source.real), at: position)
        case CTOML_BOOLEAN: return TOMLNode(.boolean(source.boolean), at: position)
        case CTOML_DATETIME: return TOMLNode(.datetime(text(source.text, source.text_length)), at: position)
        default: return TOMLNode(.string(text(source.text, source.text_length)), at: position)
        }
    }

    private static func text(_ bytes: UnsafePointer<CChar>?, _ length: Int) -> String {
        guard let bytes else { return "" }
        return String(decoding: UnsafeRawBufferPointer(start: bytes, count: length), as: UTF8.self)
    }
}

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
