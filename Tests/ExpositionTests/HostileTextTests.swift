import Exposition
import Testing

/// Texts that are made to cost much. Each takes seconds at most, and a fraction of one as a rule: a reader whose time grows with the square of
/// the length would need hours for them.
@Suite("Hostile texts")
struct HostileTextTests {
    private static let megabyte = 1 << 20

    /// - Parameter hasRoom: for two more labels.
    private func check(_ text: String, isValid: Bool, hasRoom: Bool = true, _ about: Comment) {
        let bytes = Array(text.utf8)
        let start = ContinuousClock.now
        #expect((firstError(bytes) == nil) == isValid, about)
        #expect(survey(bytes).findings.isValid == isValid, about)
        let isLabelled = (try? labelled(bytes, ["app": "N", "b": "c"]).get()) != nil
        #expect(isLabelled == (isValid && hasRoom), about)
        #expect(ContinuousClock.now - start < .seconds(60), about)
    }

    /// A million in a release build. The threads of a test run are few: a debug build would keep them from other tests for half a minute.
    #if DEBUG
        private let large = 100_000
    #else
        private let large = 1_000_000
    #endif

    @Test("lines of a megabyte")
    func longLines() {
        let long = String(repeating: "x", count: HostileTextTests.megabyte)
        check("\(long) 1\n", isValid: true, "a name")
        check("\(long)\n", isValid: false, "a name alone")
        check("a{b=\"\(long)\"} 1\n", isValid: true, "a label value")
        check("a{\(long)=\"b\"} 1\n", isValid: true, "a label name")
        check("a{b=\"\(String(repeating: "\\\\", count: HostileTextTests.megabyte / 2))\"} 1\n", isValid: true, "backslashes")
        check("a{b=\"\(String(repeating: "\n", count: HostileTextTests.megabyte))\"} 1\n", isValid: true, "a label value of newlines")
        check("a \(String(repeating: "1", count: HostileTextTests.megabyte))\n", isValid: false, "digits")
        check("a 0.\(String(repeating: "1", count: HostileTextTests.megabyte))\n", isValid: true, "digits behind the point")
        check("a 1 \(String(repeating: "0", count: HostileTextTests.megabyte))\n", isValid: true, "zeros of a timestamp")
        check("a\(String(repeating: " ", count: HostileTextTests.megabyte))1\n", isValid: true, "blanks")
        check("# \(long)\n# HELP \(long) \(long)\n", isValid: true, "comments")
    }

    @Test("a great many labels in one sample, different and not")
    func manyLabels() {
        func labels(_ count: Int) -> String { (0..<count).map { "l\($0)=\"\"," }.joined() }
        check("a{\(labels(9_998))} 1\n", isValid: true, "different")
        check("a{\(labels(10_000))} 1\n", isValid: true, hasRoom: false, "as many as possible")
        check("a{\(labels(large))} 1\n", isValid: false, "too many")
        let some = (0..<9_000).map { "l\($0)=\"\"," }.joined()
        check("a{\(some)l7=\"x\"} 1\n", isValid: true, "one of them twice, once empty")
        check("a{\(some)x=\"1\",x=\"2\"} 1\n", isValid: false, "one of them twice")
        check("a{\(String(repeating: "b=\"\",", count: 9_998))} 1\n", isValid: true, "all the same")
    }

    @Test("names that are taken again and again")
    func takenNames() {
        var name = "app"
        var labels = ""
        for _ in 0..<300 {
            labels += "\(name)=\"x\","
            name = "exported_\(name)"
        }
        labels += (0..<9_698).map { "l\($0)=\"y\"," }.joined()
        check("a{\(labels)} 1\n", isValid: true, "a chain of names")
    }

    @Test("quotes that are never closed, and that close where they should not")
    func openQuotes() {
        check(String(repeating: "a{b=\"c\n", count: large / 10), isValid: false, "on each line")
        check("a{b=\"" + String(repeating: "a{b=\\\"\n", count: large / 10), isValid: false, "escaped on each line")
        check(String(repeating: "a{b=\"c\\\n", count: large / 10), isValid: false, "a backslash at each end")
        check(String(repeating: "\",b=\"\n", count: large / 10), isValid: false, "closed and opened on each line")
        check("a{b=\"" + String(repeating: "\",b=\"", count: large / 10) + "\n", isValid: false, "many in one line")
        check(String(repeating: "a{b=\"\nc\",", count: large / 10), isValid: false, "strings over two lines")
    }

    @Test("a fault on each of very many lines")
    func manyFaults() {
        let findings = survey(String(repeating: "x\n", count: large)).findings
        #expect(findings.errors == large && findings.kept.count == 20)
        #expect(survey(String(repeating: "\r\n", count: large / 10)).findings.errors == large / 10)
    }

    @Test("more families and series than are remembered")
    func manySeries() {
        let families = survey((0..<Survey.maxFamilies + 10).map { "a\($0) 1\n" }.joined())
        #expect(families.families == Survey.maxFamilies && families.samples == Survey.maxFamilies + 10)
        #expect(families.findings == Findings())
    }
}
