/// Lines of nothing but spaces and tabs. They mean nothing, but Prometheus before 3.14 takes memory of its stack for each one of a row, and
/// a few million in a row end its process.
public enum BlankLines {
    /// The most blank lines in a row that a valid text has.
    public static let most = 1000

    /// Whether the text has no other lines.
    public static func areAll(of text: UnsafeRawBufferPointer) -> Bool { text.allSatisfy(isBlank) }

    /// The blank lines of each row that has more than `most`, also where a quoted string holds that row. Takes one step for each `most`
    /// bytes of a text that has no such row.
    /// - Parameter text: ends in a newline, unless it is empty.
    public static func surplus(in text: UnsafeRawBufferPointer) -> [Range<Int>] {
        var surplus: [Range<Int>] = []
        // A row that is too long has more bytes than `most`, so one of these places is within it.
        var place = most
        while place < text.count {
            guard isBlank(text[place]) else {
                place += most
                continue
            }
            var start = place
            while start > 0, isBlank(text[start - 1]) { start -= 1 }
            var end = place + 1
            while end < text.count, isBlank(text[end]) { end += 1 }
            if let lines = lines(in: text, start..<end) { surplus.append(lines) }
            place = end + most
        }
        return surplus
    }

    /// The blank lines of a row, if they are too many. Of the lines before and after it, their own blanks stay.
    private static func lines(in text: UnsafeRawBufferPointer, _ row: Range<Int>) -> Range<Int>? {
        var first: Int? = row.lowerBound == 0 ? 0 : nil
        var end = row.lowerBound
        var count = 0
        for index in row where text[index] == newline {
            end = index + 1
            // This newline ends the line before the row.
            if first == nil { first = end } else { count += 1 }
        }
        guard let first, count > most else { return nil }
        return first..<end
    }

    private static let newline = UInt8(ascii: "\n")

    private static func isBlank(_ byte: UInt8) -> Bool { byte == newline || Text.isBlank(byte) }
}
