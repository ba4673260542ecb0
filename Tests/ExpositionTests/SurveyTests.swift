import Exposition
import TestSupport
import Testing

@Suite("What stricter readers refuse")
struct SurveyTests {
    /// Text, and its only warning: line, column, a part of the message.
    static let warnedTexts: [(String, Int, Int, String)] = [
        ("a 1", 1, 4, "missing newline"),
        ("# HELP a b\n# HELP a b\na 1\n", 2, 8, "second HELP line for \"a\""),
        ("# TYPE a gauge\n# TYPE a gauge\na 1\n", 2, 8, "second TYPE line for \"a\""),
        ("a 1\n# TYPE a gauge\n", 2, 8, "after its samples"),
        ("a 1\nb 1\na{c=\"d\"} 1\na{c=\"e\"} 1\n", 3, 1, "\"a\" are not in one group"),
        ("a 1\na 2\n", 2, 1, "series of \"a\" occurs twice"),
        ("a{b=\"1\",c=\"2\",} 1\na{ c=\"2\", b=\"1\"} 1\n", 2, 1, "occurs twice"),
        ("a{b=\"\"} 1\na 1\n", 2, 1, "occurs twice"),
        ("# TYPE a histogram\na_bucket{le=\"1\"} 1\na_bucket{le=\"1.0\"} 1\n", 3, 1, "occurs twice"),
        ("exporter_proxy_x 1\n", 1, 1, "hide those of exporter-proxy"),
        ("# TYPE h histogram\nh 1\n", 2, 1, "is a histogram"),
        ("# TYPE h histogram\nh_bucket 1\n", 2, 1, "no label le"),
        ("# TYPE h_sum histogram\n", 1, 8, "without the last part"),
        ("# TYPE s summary\ns 1\n", 2, 1, "no label quantile"),
        ("{\"a\"} 1\n", 1, 2, "quoted metric name"),
        ("a{\"b\"=\"c\"} 1\n", 1, 3, "quoted label name"),
        ("# TYPE \"a\" gauge\n", 1, 8, "quoted metric name"),
        (" a 1\n", 1, 1, "space or tab before the metric name"),
        ("a.5\n", 1, 2, "missing space or tab"),
        ("a{b=\"c\" d=\"e\"} 1\n", 1, 9, "missing comma"),
        ("a{b=\"c\nd\"} 1\n", 1, 5, "line break in a label value"), ("a{b=\"c\\d\"} 1\n", 1, 7, "unknown escape"),
        ("a{b=\"\",c=\"d\",b=\"e\"} 1\n", 1, 3, "drops all of them"), ("# HELP a-b c\n", 1, 9, "Prometheus ends the name here"),
        ("a 1 \n", 1, 4, "at the end of the line"), ("a{b=\"c\"} 1\t \n", 1, 11, "at the end of the line"),
        ("a 1 5 \n", 1, 6, "at the end of the line"), ("a 1 5 \nb 1\n", 1, 6, "at the end of the line"),
        ("# HELP a t\\xt\n", 1, 11, "unknown escape sequence in a HELP"),
        ("# HELP a \\\\\\\n", 1, 12, "unknown escape sequence in a HELP"),
        ("# HELP a \\\"\n", 1, 10, "unknown escape sequence in a HELP"),
        ("#TYPE a foo\n", 1, 2, "no space after #"), ("  #HELP a-b c\n", 1, 4, "no space after #"),
        ("# TYPE h histogram\nh_bucket{le=\"x\"} 1\nh_bucket{le=\"y\"} 1\n", 2, 1, "\"h_bucket\" has a label le or quantile"),
        ("# TYPE h histogram\nh_sum{le=\"\"} 1\n", 2, 1, "is not a number"),
        ("# TYPE s summary\ns{quantile=\"0x1\"} 1\n", 2, 1, "is not a number"),
    ]

    /// Text, and the lines of its warnings about HELP and TYPE lines of a name that a sample of an earlier family may have.
    static let textsWithLinesOfSamples: [(String, [Int])] = [
        ("# HELP x a\n# TYPE x summary\nx_sum 1\nx_count 1\n# HELP x_count b\n# TYPE x_count counter\n", [5, 6]),
        ("# HELP n h\n# TYPE n histogram\nn_bucket{le=\"+Inf\"} 1\n# HELP n_sum h\n# TYPE n_sum gauge\nn_sum{a=\"b\"} 1\n", [4, 5]),
        ("# TYPE n histogram\n# TYPE n_bucket gauge\n", [2]),
        // No HELP line of x has a text.
        ("# TYPE x summary\n# HELP x_sum a\n", []), ("# HELP x \n# TYPE x summary\n# HELP x_sum a\n", []),
        ("# HELP x a\n# TYPE x summary\n# HELP x_sum \n", []),
        // It is taken for that of x.
        ("# TYPE x summary\n# HELP x_sum a\n# HELP x_count b\n", [3]),
        // The name is known, or x has no such samples.
        ("# HELP x_sum a\n# HELP x b\n# TYPE x summary\n# TYPE x_sum gauge\n", []),
        ("# HELP x a\n# TYPE x summary\n# HELP x_bucket b\n# TYPE x_bucket gauge\n", []),
        ("# HELP x a\n# TYPE x gauge\n# HELP x_sum b\n# TYPE x_sum gauge\n", []),
        ("# HELP x_sum a\n# TYPE x_sum gauge\n# HELP x b\n# TYPE x summary\n", []),
    ]

    @Test("a HELP or TYPE line for a sample of an earlier family counts as one of that family", arguments: textsWithLinesOfSamples)
    func linesOfSamples(text: String, lines: [Int]) {
        let findings = survey(text).findings
        #expect(findings.errors == 0 && findings.kept.map(\.line) == lines, "\(text): \(findings.kept)")
        #expect(findings.kept.allSatisfy { $0.message.contains("is a sample of the histogram or summary before it") })
    }

    @Test("a HELP line that was taken for that of the family makes the family's own a second one")
    func helpOfSampleFirst() {
        let findings = survey("# TYPE x summary\n# HELP x_sum a\n# HELP x b\n").findings
        #expect(findings.kept.map(\.message) == ["second HELP line for \"x\""])
        // promtool takes no notice of a HELP line without a text.
        #expect(survey("# TYPE x summary\n# HELP x_sum a\n# HELP x\nx_sum 1\nx_count 1\n").findings == Findings())
    }

    @Test("each warning stands alone, at its place", arguments: warnedTexts.indices)
    func warnings(index: Int) {
        let (text, line, column, message) = SurveyTests.warnedTexts[index]
        let findings = survey(text).findings
        #expect(findings.errors == 0)
        #expect(findings.kept.map { "\($0.line):\($0.column)" } == ["\(line):\(column)"], "\(text): \(findings.kept)")
        #expect(findings.kept.first?.message.contains(message) == true, "\(text): \(findings.kept)")
        #expect(findings.kept.first?.severity == .warning)
    }

    @Test("comments that are not UTF-8 are warned about")
    func comments() {
        #expect(
            survey(Array("# ".utf8) + [0xFF, 0x0A]).findings.kept.map(\.message) == [
                "comment is not valid UTF-8: exporter-proxy refuses such metrics"
            ])
    }

    @Test("ordinary texts have no warnings; the newline that the proxy adds is not missed")
    func ordinary() {
        let text = """
            # A comment.
            # HELP h Help.
            # TYPE h histogram
            h_bucket{le="1"} 1
            h_bucket{le="+Inf"} 1
            h_sum 1
            h_count 1
            # TYPE s summary
            s{quantile="0.5"} 1
            s{quantile="1"} 1
            s_sum 1
            s_count 1
            # HELP c_total Help.
            # TYPE c_total counter
            c_total{path="C:\\\\x\\n\\""} 1 1395066363000
            # HELP e C:\\\\x\\ny
            #HELP
            # TYPEs of comments
            h_bucket_le{le="x",quantile="y"} 1
            x_bucket 1
            x_sum 1
            """
        #expect(survey(text, isStored: true).findings == Findings())
        #expect(survey(text, isStored: true).families == 7)
    }

    @Test("a TYPE line between two samples of one name gives the second one its family")
    func typeBetweenSamples() {
        let result = survey("a_sum{b=\"1\"} 1\n# TYPE a summary\na_sum{b=\"2\"} 1\n")
        #expect(result.findings == Findings())
        #expect(result.families == 2)
    }

    @Test("the first TYPE line counts")
    func secondType() {
        func messages(_ first: String, _ second: String) -> [String] {
            survey("# TYPE a \(first)\n# TYPE a \(second)\na 1\n").findings.kept.map(\.message)
        }
        let second = messages("gauge", "histogram")
        #expect(second.count == 1 && second[0].hasPrefix("second TYPE line"), "\(second)")
        let odd = messages("histogram", "gauge")
        #expect(odd.count == 2 && odd[0].hasPrefix("second TYPE line"), "\(odd)")
    }

    @Test("a series is the same in any order of its labels, and another with any other label or name")
    func series() {
        let distinct = [
            "b 1", "a 1", "a{b=\"c\"} 1", "a{b=\"cc\"} 1", "a{bb=\"c\"} 1", "a{b=\"c\",d=\"e\"} 1", "a{b=\"e\",d=\"c\"} 1",
            "a{bc=\"\",c=\"b\"} 1",
        ]
        #expect(survey(distinct.joined(separator: "\n") + "\n").findings == Findings())
        let same = ["a{b=\"c\\\"\",d=\"e\"} 1", "a{d=\"e\",\"b\"=\"c\\\"\"} 1", "{\"d\"=\"e\",b=\"c\\\"\",\"a\"} 1"]
        #expect(survey(same.joined(separator: "\n") + "\n").findings.kept.filter { $0.message.contains("occurs twice") }.count == 2)
    }
}
