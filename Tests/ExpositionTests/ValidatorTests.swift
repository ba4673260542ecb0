import Exposition
import TestSupport
import Testing

@Suite("Which texts Prometheus reads")
struct ValidatorTests {
    @Test("valid texts", arguments: validMetrics)
    func valid(text: String) {
        #expect(firstError(text) == nil)
        #expect(survey(text).findings.isValid)
    }

    @Test("invalid texts: line, column in bytes, message", arguments: invalidMetrics.indices)
    func invalid(index: Int) {
        let (text, line, column, message) = invalidMetrics[index]
        let finding = firstError(text)
        #expect(finding?.line == line && finding?.column == column, "\(text): \(String(describing: finding))")
        #expect(finding?.message.contains(message) == true, "\(text): \(String(describing: finding))")
        #expect(finding?.severity == .error)
        #expect(survey(text).findings.firstError == finding)
        // Nothing depends on the newline at the end.
        if text.hasSuffix("\n"), !text.hasSuffix("\r\n") { #expect(firstError(String(text.dropLast()))?.line == line) }
    }

    @Test("bytes that are not UTF-8 are errors in HELP texts, label values and names, and nowhere else")
    func invalidUTF8() {
        func error(_ before: String, _ byte: UInt8 = 0xFF, _ after: String) -> Finding? {
            firstError(Array(before.utf8) + [byte] + Array(after.utf8))
        }
        #expect(error("# c", 0xFF, "\n") == nil)
        #expect(error("#", 0xFF, "\n") == nil)
        // The byte behind a name is dropped, whatever it is.
        #expect(error("# HELP a", 0xFF, "\n") == nil)
        #expect(error("# HELP a ", 0xFF, "\n")?.message == "HELP text is not valid UTF-8")
        #expect(error("a{b=\"", 0xC3, "\"} 1\n")?.message == "label value is not valid UTF-8")
        #expect(error("{\"", 0xC3, "\"} 1\n")?.message == "name is not valid UTF-8")
        #expect(error("a{\"", 0xC3, "\"=\"b\"} 1\n")?.message == "name is not valid UTF-8")
        #expect(error("a{\"", 0xC3, "\"=\"\"} 1\n") == nil)
        #expect(error("a ", 0xFF, "\n")?.message.contains("not a number") == true)
        #expect(error("", 0xFF, " 1\n")?.column == 1)
    }

    @Test("a NUL byte is an error, wherever it stands")
    func nul() {
        for text in ["\0", "a 1\n\0", "a{b=\"c\0\"} 1\n", "# c\0\n", "a\0 1\n"] {
            #expect(firstError(text)?.message == "NUL byte: Prometheus would read no further")
        }
        #expect(firstError("a 1\nb 2\n  \0")?.line == 3)
    }

    @Test("more than ten thousand labels in one sample are an error, and the check goes on with the next line")
    func manyLabels() {
        func sample(_ count: Int) -> String { "a{\((0..<count).map { "l\($0)=\"\"" }.joined(separator: ","))} 1\n" }
        #expect(firstError(sample(10_000)) == nil)
        #expect(firstError(sample(10_001))?.message.hasPrefix("more than 10000 labels in one sample") == true)
        #expect(survey(sample(10_001) + "wrong\n").findings.kept.filter { $0.severity == .error }.map(\.line) == [1, 2])
    }

    @Test(
        "a text may have nothing but blank lines",
        arguments: [("", true), ("\n", true), (" \t\n\n", true), ("\n\na\n", false), ("#\n", false)])
    func blankText(text: String, isBlank: Bool) {
        #expect(Array(text.utf8).withUnsafeBytes(Validator.isBlank) == isBlank)
    }

    @Test("more than ten thousand blank lines in a row are one error, wherever they stand; after them the check goes on")
    func blankLines() {
        let most = String(repeating: "\n", count: Validator.maxBlankLines)
        let mixed = String(repeating: "\n \t\n", count: Validator.maxBlankLines / 2)
        for text in [most, "a 1\n\(most)", "\(most)a 1\n", "a 1\n\(mixed)b 1\n", "\(most)# c\n\(most)"] {
            #expect(firstError(text) == nil)
        }
        #expect(firstError(most + "\n")?.line == 10_001)
        #expect(firstError("a 1\n\(mixed) \n")?.line == 10_002)
        #expect(firstError("a 1\n\(mixed)\t\nb 1\n")?.message.hasPrefix("more than 10000 blank lines in a row: Prometheus") == true)
        let findings = survey("\(most)\(most)\(most)wrong\n\(most)\n a 1\nwrong\n").findings
        #expect(findings.kept.filter { $0.severity == .error }.map(\.line) == [10_001, 30_001, 40_002, 40_004])
        // Within quotes they are part of a value.
        #expect(firstError("a{b=\"\(most)\n\"} 1\n") == nil)
    }

    @Test("a name, a label name or a label value has at most 2^24 - 1 bytes: Prometheus has three bytes for the length")
    func longest() {
        let most = String(repeating: "x", count: (1 << 24) - 1)
        for (before, after) in [("", " 1\n"), ("{\"", "\"} 1\n"), ("a{b=\"", "\"} 1\n"), ("a{", "=\"b\"} 1\n"), ("a{\"", "\"=\"b\"} 1\n")] {
            #expect(firstError(before + most + after) == nil)
            let error = firstError("\(before)x\(most)\(after)")
            #expect(error?.message == "name or label is longer than 16777215 bytes, which is more than Prometheus can store")
        }
        #expect(firstError(" \(most) 1\n")?.column == 2)
    }

    @Test("the proxy's own series are an error only where they are refused")
    func proxySeries() {
        let text = "a 1\nexporter_proxy_apps 1\n"
        #expect(firstError(text) == nil)
        let refused = firstError(text, refusesProxySeries: true)
        #expect(refused?.line == 2 && refused?.column == 1)
        #expect(firstError("{\"exporter_proxy_\"} 1\n", refusesProxySeries: true)?.column == 3)
        #expect(firstError("exporter_proxy 1\nexporter_prox_y 1\n# HELP exporter_proxy_x y\n", refusesProxySeries: true) == nil)
    }

    @Test("after a fault the check goes on with the next line; the number of all errors is known, and 20 of them in the order of the text")
    func findings() {
        let lines = (1...50).map { $0 % 2 == 0 ? "a{b=\"\($0)\"} 1\n" : "wrong\n" }
        let findings = survey(lines.joined()).findings
        #expect(findings.errors == 25 && findings.warnings == 0)
        #expect(findings.kept.map(\.line) == Array(stride(from: 1, through: 39, by: 2)))
        // Warnings give way to errors.
        let mixed = survey((1...50).map { "a{b=\"\\x\",c=\"\($0)\"} \($0 > 40 ? "x" : "1")\n" }.joined()).findings
        #expect(mixed.errors == 10 && mixed.warnings == 40 && mixed.kept.count == 20)
        #expect(mixed.kept.map(\.line) == Array(1...10) + Array(41...50))
        #expect(!mixed.isValid)
    }

    @Test("an error within a string that goes on over lines does not hide those of the lines that follow")
    func errorsAfterOpenQuotes() {
        let findings = survey("a{b=\"c} 1\nwrong\nd{e=\"f\"} 1\ng 1,5\n").findings
        #expect(findings.kept.map(\.line) == [1, 2, 4])
    }

    @Test("samples and families are counted, also between errors")
    func counts() {
        let text = """
            # HELP h Help.
            # TYPE h histogram
            h_bucket{le="+Inf"} 1
            h_sum 1
            h_count 1
            wrong
            # TYPE s summary
            s{quantile="1"} 1
            s_sum 1
            a_sum 1
            # HELP nothing Without samples.

            """
        #expect(survey(text).samples == 6)
        #expect(survey(text).families == 4)
    }

    @Test("messages are one printable line, whatever the text is")
    func messages() {
        var texts = RandomTexts(seed: 7)
        for _ in 0..<2000 {
            for finding in survey(texts.next()).findings.kept {
                #expect(!finding.message.unicodeScalars.contains { $0.value < 0x20 || $0.value == 0x7F }, "\(finding)")
                #expect(finding.line >= 1 && finding.column >= 1)
            }
        }
        let long = firstError("a \(String(repeating: "x", count: 10_000))\n")
        #expect(long.map { $0.message.count < 100 } == true)
    }
}
