import Exposition
import Testing

@Suite("Finding")
struct FindingTests {
    @Test("the words of severities are those that users read")
    func severities() {
        #expect(Finding(severity: .warning, line: 1, column: 1, message: "").severity.rawValue == "warning")
    }
}
