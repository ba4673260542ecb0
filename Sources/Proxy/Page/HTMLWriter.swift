import HTTP
import NIOCore

/// Writes HTML piece by piece. All text from outside must go through `text` or `field`.
struct HTMLWriter {
    private(set) var buffer: ByteBuffer

    init(capacity: Int) { buffer = ByteBufferAllocator().buffer(capacity: capacity) }

    /// The beginning of each page, with the common style, up to `<body>`.
    mutating func head(title: String) {
        raw(
            """
            <!DOCTYPE html>
            <html lang="en">
            <head>
            <meta charset="utf-8">
            <meta name="viewport" content="width=device-width, initial-scale=1">
            <meta name="color-scheme" content="light dark">
            <meta name="referrer" content="no-referrer">
            <title>
            """)
        text(title)
        raw("</title>\n<style>")
        raw(PageStyle.asset.text)
        raw("</style>\n</head>\n<body>\n")
    }

    /// Markup of the program.
    mutating func raw(_ markup: StaticString) { buffer.writeStaticString(markup) }

    /// Markup of the program that is composed at run time.
    mutating func markup(_ markup: String) { buffer.writeString(markup) }

    mutating func number(_ number: Int) { buffer.writeString(String(number)) }

    /// Text from outside, escaped for use between tags and within quoted attributes. Invisible characters, and those that change the
    /// direction of text, are written as `\u{1B}`.
    /// - Parameter keepsLines: whether line breaks stay, for preformatted text.
    mutating func text(_ text: String, keepsLines: Bool = false) {
        let lines = keepsLines ? text.parts(at: "\n") : [text[...]]
        write(escaping: lines.map { PrintableText(String($0)).text }.joined(separator: "\n"))
    }

    /// Text from outside as the value of a text field, which the reader can change and send again. So it stays as it is, except that
    /// control characters become blanks.
    mutating func field(_ text: String) {
        var value = String.UnicodeScalarView()
        for scalar in text.unicodeScalars { value.append(scalar.properties.generalCategory == .control ? " " : scalar) }
        write(escaping: String(value))
    }

    private mutating func write(escaping text: String) {
        if text.utf8.allSatisfy({ HTMLWriter.reference(for: $0) == nil }) {
            buffer.writeString(text)
            return
        }
        for byte in text.utf8 {
            if let reference = HTMLWriter.reference(for: byte) {
                buffer.writeStaticString(reference)
            } else {
                buffer.writeInteger(byte)
            }
        }
    }

    private static func reference(for byte: UInt8) -> StaticString? {
        switch byte {
        case UInt8(ascii: "&"): "&amp;"
        case UInt8(ascii: "<"): "&lt;"
        case UInt8(ascii: ">"): "&gt;"
        case UInt8(ascii: "\""): "&quot;"
        case UInt8(ascii: "'"): "&#39;"
        default: nil
        }
    }
}

/// Ages and sizes as the page shows them: short, rounded down. Its script does the same with ages.
enum ShortText {
    /// `now`, `5 s`, `3 min`, `7 h`, `12 d`. Never negative, also if the clock was set back.
    static func age(of time: Timestamp, at now: Timestamp) -> String {
        let (difference, overflow) = now.nanoseconds.subtractingReportingOverflow(time.nanoseconds)
        let seconds = overflow ? 0 : difference / 1_000_000_000
        return seconds < 1 ? "now" : span(seconds)
    }

    /// The same for a time span in whole seconds.
    static func span(_ seconds: Int64) -> String {
        switch seconds {
        case ..<60: "\(seconds) s"
        case ..<3600: "\(seconds / 60) min"
        case ..<172_800: "\(seconds / 3600) h"
        default: "\(seconds / 86_400) d"
        }
    }

    /// `78 B`, `1.2 KiB`, `34 MiB`.
    static func size(_ bytes: Int) -> String {
        if bytes < 1024 { return "\(bytes) B" }
        var unit = 1024
        var names = ["KiB", "MiB", "GiB", "TiB"][...]
        while names.count > 1, bytes >= unit * 1024 {
            unit *= 1024
            names.removeFirst()
        }
        let tenths = bytes / (unit / 1024) * 10 / 1024
        let name = names.first ?? ""
        return tenths < 100 ? "\(tenths / 10).\(tenths % 10) \(name)" : "\(tenths / 10) \(name)"
    }
}
