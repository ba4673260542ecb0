import Testing

@testable import Proxy

@Suite("Printable text")
struct PrintableTextTests {
    @Test(
        "text that a terminal can show stays, and its columns are counted",
        arguments: [
            ("", 0), ("app", 3), ("größe", 5), ("gro\u{308}ße", 5), ("日本", 4), ("한글", 4), ("ｆｕｌｌ", 8), ("😀", 2), ("→", 1), ("שלום", 4),
            ("a\u{200D}b", 2), ("a\u{200C}b", 2), ("a\u{AD}b", 3), ("❤\u{FE0F}", 1),
        ])
    func columns(text: String, columns: Int) {
        #expect(PrintableText(text).text == text)
        #expect(PrintableText(text).columns == columns)
    }

    @Test("the letters that are not looked up are those that need no escape, and their columns are right")
    func letters() throws {
        var wrong: [UInt32] = []
        for (range, columns) in [
            (0xA0...0x2FF, 1), (0x370...0x482, 1), (0x48A...0x52F, 1), (0x4E00...0x9FFF, 2), (0xAC00...0xD7A3, 2),
        ] as [(ClosedRange<UInt32>, Int)] {
            for value in range {
                let scalar = try #require(Unicode.Scalar(value))
                let properties = scalar.properties
                let isPlain =
                    value == 0xAD
                    || (!properties.isDefaultIgnorableCodePoint && !properties.isEmojiPresentation
                        && ![.control, .format, .nonspacingMark, .enclosingMark, .lineSeparator, .paragraphSeparator]
                            .contains(properties.generalCategory))
                let printable = PrintableText(String(scalar))
                if !isPlain || printable.text != String(scalar) || printable.columns != columns { wrong.append(value) }
            }
        }
        #expect(wrong.isEmpty)
    }

    @Test(
        "what would disturb a terminal is escaped, and counted as it is shown",
        arguments: [
            ("a\u{1B}[31m", "a\\u{1B}[31m"), ("a\nb", "a\\u{A}b"), ("a\u{7F}", "a\\u{7F}"), ("\u{9B}x", "\\u{9B}x"),
            ("\u{202E}x", "\\u{202E}x"),
            ("a\u{2028}b", "a\\u{2028}b"), ("\r\n", "\\u{D}\\u{A}"), ("\u{200B}zero", "\\u{200B}zero"), ("\u{FEFF}x", "\\u{FEFF}x"),
            ("a\u{2060}b", "a\\u{2060}b"), ("a\u{E0041}", "a\\u{E0041}"), ("\u{3164}", "\\u{3164}"), ("a\u{61C}", "a\\u{61C}"),
            ("a\u{200E}\u{200F}", "a\\u{200E}\\u{200F}"), ("\u{2066}x\u{2069}", "\\u{2066}x\\u{2069}"),
        ])
    func escapes(raw: String, shown: String) {
        #expect(PrintableText(raw).text == shown)
        #expect(PrintableText(raw).columns == shown.count)
    }
}
