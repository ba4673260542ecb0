/// Where a head ends: at its first empty line (RFC 9112 §2.1).
enum HeadEnd: Equatable {
    /// More must come; so many bytes need not be looked at again.
    case incomplete(scanned: Int)
    /// Its lines take so many bytes, with the empty line `total`.
    case found(lines: Int, total: Int)

    /// Looks for it in what has come so far.
    /// - Parameter scanned: what the last search said.
    init(in raw: UnsafeRawBufferPointer, scanned: Int) {
        var position = scanned
        while let newline = HeadLines.lineFeed(in: raw, from: position) {
            position = newline
            guard newline + 1 < raw.count else { break }
            let afterReturn = raw[newline + 1] == UInt8(ascii: "\r") ? newline + 2 : newline + 1
            guard afterReturn < raw.count else { break }
            guard raw[afterReturn] == UInt8(ascii: "\n") else {
                position = newline + 1
                continue
            }
            self = .found(lines: newline + 1, total: afterReturn + 1)
            return
        }
        // Without a line feed in it, the rest need not be looked at again.
        if HeadLines.lineFeed(in: raw, from: position) == nil { position = raw.count }
        self = .incomplete(scanned: position)
    }
}
