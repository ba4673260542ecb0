import Exposition
import Testing

@Suite("Blank lines")
struct BlankLinesTests {
    @Test("a text may have no other lines", arguments: [("", true), ("\n", true), (" \t\n\n", true), ("\n\na\n", false), ("#\n", false)])
    func all(text: String, areBlank: Bool) {
        #expect(Array(text.utf8).withUnsafeBytes(BlankLines.areAll) == areBlank)
    }
}
