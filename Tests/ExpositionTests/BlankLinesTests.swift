import Exposition
import Testing

@Suite("Blank lines")
struct BlankLinesTests {
    /// The text without its surplus lines.
    private func shortened(_ text: String) -> String {
        var bytes = Array(text.utf8)
        for lines in bytes.withUnsafeBytes(BlankLines.surplus).reversed() { bytes.removeSubrange(lines) }
        return String(decoding: bytes, as: UTF8.self)
    }

    private func blank(_ count: Int, _ line: String = "\n") -> String { String(repeating: line, count: count) }

    @Test("a row of a thousand stays, one more and none of them does", arguments: ["\n", " \n", " \t \n"])
    func limit(line: String) {
        let most = blank(1000, line)
        let more = blank(1001, line)
        for (before, after) in [("a 1\n", "b 1\n"), ("a 1\n", ""), ("", "b 1\n"), ("# \(blank(999, "x"))\n", "b 1\n")] {
            #expect(shortened(before + most + after) == before + most + after)
            #expect(shortened(before + more + after) == before + after)
        }
        #expect(shortened(more) == "")
        #expect(shortened("") == "")
    }

    @Test("the lines around a row keep their own blanks, and each row counts alone")
    func several() {
        #expect(shortened("a 1 \t\n\(blank(5000)) b 1\n\(blank(1000))c 1\n\(blank(2000, "\t\n"))") == "a 1 \t\n b 1\n\(blank(1000))c 1\n")
        #expect(shortened(blank(3000) + "\t a 1\n" + blank(1001) + blank(5000, " ") + "b 1\n") == "\t a 1\n" + blank(5000, " ") + "b 1\n")
    }

    @Test("blanks of other kinds make no row")
    func others() {
        for text in [blank(5000, " ") + "\n", blank(3000, "\r\n"), blank(3000, "\n#"), "a 1\n\(blank(9000, "\t"))\n\n b 1\n"] {
            #expect(shortened(text) == text)
        }
    }

    @Test("a text may have no other lines", arguments: [("", true), ("\n", true), (" \t\n\n", true), ("\n\na\n", false), ("#\n", false)])
    func all(text: String, areBlank: Bool) {
        #expect(Array(text.utf8).withUnsafeBytes(BlankLines.areAll) == areBlank)
    }
}
