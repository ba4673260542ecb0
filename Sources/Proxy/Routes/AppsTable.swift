import NIOCore

/// `/apps` as text: a box that holds the time and a table of the apps (SPEC §5).
enum AppsTable {
    /// The whole table; its last line ends in a newline.
    static func text(of entries: some Collection<AppEntry>, at now: Timestamp) -> ByteBuffer {
        let header = ["App Name", "Last Update Time (UTC)", "Source"].map(PrintableText.init)
        let rows = entries.map { entry in
            [entry.name.description, lastUpdate(of: entry), entry.source.description].map(PrintableText.init)
        }
        let widths = header.indices.map { column in
            rows.reduce(header[column].columns) { max($0, $1[column].columns) }
        }
        let title = PrintableText("Current time: \(now.tableText)")
        let rule = "+" + widths.map { String(repeating: "-", count: $0 + 2) + "+" }.joined()
        // The title is wider than a table without apps: then the table is padded, so that the box stays closed.
        let inside = max(rule.utf8.count, title.columns)

        // Two lines a row; names beyond ASCII take a few bytes more than columns.
        var box = BoxWriter(inside: inside, capacity: (2 * rows.count + 6) * (inside + 5))
        box.writeEdge()
        box.writeLine(title.text, columns: title.columns)
        box.writeEdge()
        box.writeLine(rule, columns: rule.utf8.count)
        for row in [header] + rows {
            box.writeRow(row, widths: widths, columns: rule.utf8.count)
            box.writeLine(rule, columns: rule.utf8.count)
        }
        box.writeEdge()
        return box.buffer
    }

    private static func lastUpdate(of entry: AppEntry) -> String {
        let time = entry.lastUpdate?.time.tableText ?? "never"
        return switch entry.state {
        case .ok: time
        case .expired: time + " (expired)"
        case .failing: time + " (failing)"
        }
    }
}

private struct BoxWriter {
    /// Columns between `| ` and ` |`.
    let inside: Int
    private(set) var buffer: ByteBuffer

    init(inside: Int, capacity: Int) {
        self.inside = inside
        buffer = ByteBufferAllocator().buffer(capacity: capacity)
    }

    mutating func writeEdge() {
        buffer.writeStaticString("+")
        buffer.writeRepeatingByte(UInt8(ascii: "-"), count: inside + 2)
        buffer.writeStaticString("+\n")
    }

    mutating func writeLine(_ text: String, columns: Int) {
        buffer.writeStaticString("| ")
        buffer.writeString(text)
        closeLine(after: columns)
    }

    mutating func writeRow(_ cells: [PrintableText], widths: [Int], columns: Int) {
        buffer.writeStaticString("| ")
        for (cell, width) in zip(cells, widths) {
            buffer.writeStaticString("| ")
            buffer.writeString(cell.text)
            writeSpaces(width - cell.columns + 1)
        }
        buffer.writeStaticString("|")
        closeLine(after: columns)
    }

    private mutating func closeLine(after columns: Int) {
        writeSpaces(inside - columns)
        buffer.writeStaticString(" |\n")
    }

    private mutating func writeSpaces(_ count: Int) {
        buffer.writeRepeatingByte(UInt8(ascii: " "), count: count)
    }
}
