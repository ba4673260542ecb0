import Pushgateway
import Testing

@Suite("TextFamilies")
struct TextFamiliesTests {
    private func read(_ text: String) throws -> [MetricFamily] {
        var text = text
        return try text.withUTF8 { try TextFamilies.read(UnsafeRawBufferPointer($0)) }
    }

    private func refusal(_ text: String) -> String? {
        do {
            _ = try read(text)
            return nil
        } catch {
            return "\(error)"
        }
    }

    @Test("samples, types and help become families")
    func families() throws {
        let families = try read(
            """
            # a comment
            # HELP a what \\\\ it \\n says
            # TYPE a counter
            a{x="1",y="q\\"\\\\\\n"} 1.5
            a 2
             b\t-Inf
            # TYPE empty gauge
            """)
        #expect(families.map(\.name) == ["a", "b"])
        #expect(families[0].help == "what \\ it \n says")
        #expect(families[0].kind == .counter && families[1].kind == .untyped)
        #expect(families[0].metrics[0].labels == [.init(name: "x", value: "1"), .init(name: "y", value: "q\"\\\n")])
        #expect(families[0].metrics.map(\.value) == [.number(1.5), .number(2)])
        #expect(families[1].metrics[0].value == .number(-.infinity))
    }

    @Test("label values are compared byte by byte: one character and two that look the same make two metrics")
    func canonicalEquivalents() throws {
        let families = try read(
            """
            # TYPE s summary
            s_sum{a="\u{E9}"} 1
            s_sum{a="e\u{301}"} 2
            x{a="\u{E9}"} 1
            x{a="e\u{301}"} 2

            """)
        #expect(families.map(\.metrics.count) == [2, 2])
        #expect(families.map { Set($0.metrics.map(\.labels)).count } == [2, 2])
        let group = try PushGroup(GroupingKey(path: "job/j")).pushed(families, replacing: false, at: 1)
        #expect(String(decoding: group.text, as: UTF8.self).split(separator: "\n").count { $0.hasPrefix("x{") } == 2)
    }

    @Test("the lines of a histogram and of a summary are one metric for each set of labels")
    func distributions() throws {
        let families = try read(
            """
            # TYPE h histogram
            h_bucket{a="1",le="0.5"} 1
            h_bucket{le="+Inf",a="1"} 3
            h_sum{a="1"} 2.5
            h_count{a="1"} 3
            h_count{a="2"} 7
            # TYPE s summary
            s{quantile="0.9"} 4
            s_sum 10
            s_count 5
            """)
        #expect(families.map(\.name) == ["h", "s"])
        #expect(families[0].metrics.count == 2)
        var histogram = Metric.Distribution()
        histogram.points = [(0.5, 1), (.infinity, 3)]
        (histogram.count, histogram.sum) = (3, 2.5)
        #expect(families[0].metrics[0].value == .histogram(histogram))
        var summary = Metric.Distribution()
        summary.points = [(0.9, 4)]
        (summary.count, summary.sum) = (5, 10)
        #expect(families[1].metrics.map(\.value) == [.summary(summary)])
    }

    @Test("a timestamp is noticed")
    func timestamps() throws {
        #expect(try read("a 1 1600000000000\nb 1").flatMap(\.metrics).map(\.hasTimestamp) == [true, false])
    }

    @Test(
        "what the Pushgateway refuses is refused, with the line",
        arguments: [
            ("a 12,5", "line 1: expected float as value, got '12,5'"),
            ("a 1\na 0x10\n", "line 2: expected float as value, got '0x10'"),
            ("a 1e400", "line 1: expected float as value, got '1e400'"),
            ("a", "line 1: expected float as value, got ''"),
            ("a 1 ", "line 1: expected integer as timestamp, got ''"),
            ("a 1 2 3", "line 1: spurious string after timestamp: ' 3'"),
            ("a 1\r\n", "line 1: expected float as value, got '1\\u{D}'"),
            ("1a 1", "line 1: invalid metric name"),
            ("{} 1", "line 1: invalid metric name"),
            ("a{b=\"1\",b=\"2\"} 1", "line 1: duplicate label names for metric 'a'"),
            ("a{" + (0..<20).map { "l\($0)=\"\"" }.joined(separator: ",") + ",l3=\"\"} 1", "line 1: duplicate label names for metric 'a'"),
            ("a{b} 1", "line 1: expected '=' after label name 'b'"),
            ("a{b=1} 1", "line 1: expected '\"' at start of the value of label 'b'"),
            ("a{b=\"1} 1", "line 1: label value contains an unescaped line feed, or has no closing quote"),
            ("a{b=\"\\x\"} 1", "line 1: invalid escape sequence: only \\\\, \\\" and \\n are known"),
            ("a{b=\"1\" c=\"2\"} 1", "line 1: unexpected end of the value of label 'b'"),
            ("a{__name__=\"1\"} 1", "line 1: label name '__name__' is reserved"),
            ("a{1=\"1\"} 1", "line 1: invalid label name for metric 'a'"),
            ("# HELP a x\n# HELP a y", "line 2: second HELP line for metric name 'a'"),
            ("a 1\n# TYPE a gauge", "line 2: second TYPE line for metric name 'a', or TYPE reported after samples"),
            ("# TYPE a number", "line 1: unknown metric type 'number'"),
            ("# TYPE a gauge ", "line 1: unknown metric type 'gauge '"),
            ("# TYPE a-b gauge", "line 1: invalid metric name in comment"),
            ("# HELP a \\x", "line 1: invalid escape sequence: only \\\\, \\\" and \\n are known"),
            ("# TYPE h histogram\nh_bucket{le=\"x\"} 1", "line 2: expected float as value for 'le' label, got 'x'"),
            ("# TYPE h histogram\nh_count -1", "line 2: negative count for histogram 'h'"),
            ("# TYPE s summary\ns_count -1", "line 2: negative count for summary 's'"),
        ])
    func refusals(text: String, reason: String) {
        #expect(refusal(text) == "text format parsing error in \(reason)")
    }

    @Test(
        "what it tolerates is read",
        arguments: [
            "", "\n\n", "#", "# HELP", "# HELP a", "a{} 1", "a{b=\"1\",} 1", "a {} 1", "\ta 1", "a nan", "a +INFINITY",
            "a 1e-999", "a .5", "# TYPE a GAUGE",
        ])
    func tolerated(text: String) {
        #expect(refusal(text) == nil)
    }
}
