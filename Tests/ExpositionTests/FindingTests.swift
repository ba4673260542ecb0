import Exposition
import Testing

@Suite("Finding")
struct FindingTests {
    @Test("the words of severities are those that users read")
    func severities() {
        #expect(Finding(severity: .warning, line: 1, column: 1, message: "").severity.rawValue == "warning")
    }

    @Test("a quoted text of forty characters is whole, and one of more ends in an ellipsis", arguments: ["a", "ä", "日", "😀"])
    func excerpts(character: String) {
        let whole = String(repeating: character, count: 40)
        #expect(firstError("a \(whole)\n")?.message == "value \"\(whole)\" is not a number")
        #expect(firstError("a \(whole)\(character)\n")?.message == "value \"\(whole)…\" is not a number")
    }
}
