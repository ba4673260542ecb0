import NIOCore

/// `/apps` as text: a box with the time and a table of the apps.
enum AppsTable {
    /// A cell up to this many columns always widens its column.
    private static let minWidest = 100
    /// In a table of many apps, the most columns that one long cell adds to all rows together. Each row would pay for it twice: in its own
    /// line, and in the rule below.
    private static let maxAdded = 4_000_000

    /// The line above the table.
    static func title(at now: Timestamp) -> PrintableText { PrintableText("Current time: \(now.tableText)") }

    /// The table and the end of the box. Columns are as wide as their widest cell. With many apps a cell that would widen all rows by too
    /// much makes only its own row longer.
    /// - Parameter titleColumns: the box is at least as wide as its title, also around a table without apps.
    static func list(of entries: some Collection<AppEntry>, titleColumns: Int) -> WrittenList {
        let widest = max(minWidest, maxAdded / max(1, entries.count))
        var widths = header.map(\.columns)
        for entry in entries {
            for (column, cell) in cells(of: entry).enumerated() where cell.columns <= widest {
                widths[column] = max(widths[column], cell.columns)
            }
        }
        let rule = "+" + widths.map { String(repeating: "-", count: $0 + 2) + "+" }.joined()
        var list = WrittenList()
        list.columns = max(rule.utf8.count, titleColumns)
        var box = BoxWriter(inside: list.columns)
        box.writeLine(rule, columns: rule.utf8.count)
        func writeRow(_ row: [PrintableText]) {
            box.writeRow(row, widths: widths)
            box.writeLine(rule, columns: rule.utf8.count)
            list.take(&box.buffer)
        }
        writeRow(header)
        for entry in entries { writeRow(cells(of: entry)) }
        box.writeEdge()
        list.take(&box.buffer, isLast: true)
        return list
    }

    /// The whole box.
    static func document(_ list: WrittenList, title: PrintableText) -> SharedPieces {
        var head = BoxWriter(inside: list.columns)
        head.writeEdge()
        head.writeLine(title.text, columns: title.columns)
        head.writeEdge()
        return list.document(head: head.buffer)
    }

    private static let header = ["App Name", "Last Update Time (UTC)", "Source"].map(PrintableText.init)

    private static func cells(of entry: AppEntry) -> [PrintableText] {
        let time = entry.lastUpdate?.time.tableText ?? "never"
        let lastUpdate = entry.condition.isMarkedInTable ? "\(time) (\(entry.condition.rawValue))" : time
        return [entry.name.description, lastUpdate, entry.source.description].map(PrintableText.init)
    }
}

private struct BoxWriter {
    /// Columns between `| ` and ` |`.
    let inside: Int
    var buffer = ByteBuffer()

    init(inside: Int) { self.inside = inside }

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

    mutating func writeRow(_ cells: [PrintableText], widths: [Int]) {
        buffer.writeStaticString("| ")
        var columns = 1
        for (cell, width) in zip(cells, widths) {
            let taken = max(width, cell.columns)
            buffer.writeStaticString("| ")
            buffer.writeString(cell.text)
            writeSpaces(taken - cell.columns + 1)
            columns += taken + 3
        }
        buffer.writeStaticString("|")
        closeLine(after: columns)
    }

    /// A line with a long cell may be longer than the box.
    private mutating func closeLine(after columns: Int) {
        writeSpaces(max(0, inside - columns))
        buffer.writeStaticString(" |\n")
    }

    private mutating func writeSpaces(_ count: Int) {
        buffer.writeRepeatingByte(UInt8(ascii: " "), count: count)
    }
}

/// `/apps` as JSON, with one app on each line, so that it can be read and searched without tools. The program's status follows.
enum AppsJSON {
    /// The array of apps.
    static func list(of entries: some Collection<AppEntry>) -> WrittenList {
        var list = WrittenList()
        var json = JSONWriter()
        json.raw("[")
        var isFirst = true
        for entry in entries {
            json.raw(isFirst ? "\n{" : ",\n{")
            isFirst = false
            write(entry, to: &json)
            json.raw("}")
            list.take(&json.buffer)
        }
        json.raw(isFirst ? "]" : "\n]")
        list.take(&json.buffer, isLast: true)
        return list
    }

    /// The whole object.
    static func document(_ list: WrittenList, status: DaemonStatus, isReady: Bool, at now: Timestamp) -> SharedPieces {
        var head = JSONWriter()
        head.raw("{\"time\": ")
        head.string(now.rfc3339)
        head.raw(", \"apps\": ")
        var tail = JSONWriter()
        write(status, isReady: isReady, to: &tail)
        tail.raw("}\n")
        return list.document(head: head.buffer, tail: tail.buffer)
    }

    /// The members of an app's object.
    static func write(_ entry: AppEntry, to json: inout JSONWriter) {
        json.raw("\"name\": ")
        json.string(entry.name.description)
        json.raw(", \"source\": ")
        json.string(entry.source.description)
        json.raw(", \"last_update\": ")
        json.string(entry.lastUpdate?.time.rfc3339)
        json.raw(", \"bytes\": ")
        json.number(entry.exposition.size)
        json.raw(", \"state\": ")
        json.string(entry.condition.rawValue)
        json.raw(", \"error\": ")
        json.string(entry.error)
    }

    private static func write(_ status: DaemonStatus, isReady: Bool, to json: inout JSONWriter) {
        json.raw(", \"listeners\": [")
        for (index, listener) in status.listeners.enumerated() {
            json.raw(index == 0 ? "\n" : ",\n")
            write(listener, to: &json)
        }
        json.raw(status.listeners.isEmpty ? "]" : "\n]")
        json.raw(", \"reload\": ")
        if let reload = status.lastReload {
            json.raw("{\"time\": ")
            json.string(reload.time.rfc3339)
            json.raw(", \"error\": ")
            json.string(reload.error)
            json.raw("}")
        } else {
            json.raw("null")
        }
        json.raw(isReady ? ", \"ready\": true" : ", \"ready\": false")
        json.raw(", \"version\": ")
        json.string(status.version)
        json.raw(", \"start_time\": ")
        json.string(status.startTime.rfc3339)
    }

    private static func write(_ listener: DaemonStatus.Listener, to json: inout JSONWriter) {
        json.raw("{\"name\": ")
        json.string(listener.name)
        json.raw(", \"kind\": ")
        json.string(listener.kind.rawValue)
        json.raw(", \"format\": ")
        json.string(listener.format?.rawValue)
        json.raw(", \"tls\": ")
        json.string(listener.tls)
        json.raw(", \"open_connections\": ")
        json.number(listener.openConnections)
        json.raw(", \"certificate_end\": ")
        json.string(listener.certificateEnd?.rfc3339)
        json.raw("}")
    }
}
