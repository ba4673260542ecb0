import Pushgateway
import Testing

@Suite("PushGroup")
struct PushGroupTests {
    private let key = Result { try GroupingKey(path: "job/j/a/1") }

    private func families(_ text: String) throws -> [MetricFamily] {
        var text = text
        return try text.withUTF8 { try TextFamilies.read(UnsafeRawBufferPointer($0)) }
    }

    private func group(_ path: String = "job/j") throws -> PushGroup { PushGroup(try GroupingKey(path: path)) }

    /// The group after a refused push.
    private func failed(_ group: PushGroup, at time: Double) -> PushGroup {
        let text = group.text.withUnsafeBytes { PushGroup.failed($0, at: time) }
        return text.withUnsafeBytes { PushGroup(group.key, text: $0) }
    }

    /// The lines that are no comment.
    private func samples(_ group: PushGroup) -> [Substring] {
        String(decoding: group.text, as: UTF8.self).split(separator: "\n").filter { !$0.hasPrefix("#") }
    }

    @Test("the group's labels win, and instance is empty without one")
    func labels() throws {
        let group = try group("job/j/a/1").pushed(try families("x{job=\"k\",a=\"2\",z=\"3\"} 1"), replacing: true, at: 1.5)
        #expect(
            samples(group) == [
                #"x{a="1",instance="",job="j",z="3"} 1"#,
                #"push_time_seconds{a="1",instance="",job="j"} 1.5"#,
                #"push_failure_time_seconds{a="1",instance="",job="j"} 0"#,
            ])
    }

    @Test("an instance of the client stays where the group names none")
    func instance() throws {
        let group = try group().pushed(try families("x{instance=\"i\"} 1"), replacing: true, at: 1)
        #expect(samples(group).first == #"x{instance="i",job="j"} 1"#)
    }

    @Test(
        "bounds of buckets and quantiles are written as Go writes them",
        arguments: [
            ("1000000", "1e+06"), ("999999", "999999"), ("1234567", "1.234567e+06"), ("16777216", "1.6777216e+07"), ("1e21", "1e+21"),
            ("9007199254740992", "9.007199254740992e+15"), ("1e100", "1e+100"), ("0.0001", "0.0001"), ("0.00001", "1e-05"),
            ("0.000015", "1.5e-05"), ("1.50", "1.5"), ("100", "100"), ("0.25", "0.25"), ("-2500000.0", "-2.5e+06"), ("0", "0"), ("-0", "0"),
            ("5e-324", "5e-324"), ("+Inf", "+Inf"), ("123456.789", "123456.789"), ("1234567.5", "1.2345675e+06"),
        ])
    func bounds(given: String, written: String) throws {
        let group = try group().pushed(
            try families("# TYPE h histogram\nh_bucket{le=\"\(given)\"} 1\n"), replacing: true, at: 1)
        #expect(samples(group).contains("h_bucket{instance=\"\",job=\"j\",le=\"\(written)\"} 1"), "\(samples(group))")
    }

    @Test("POST replaces the families of the same name, PUT all; the failure's time stays")
    func merges() throws {
        var group = failed(try group(), at: 5)
        group = try group.pushed(try families("a 1\nb 1"), replacing: true, at: 6)
        group = try group.pushed(try families("b{l=\"2\"} 2\nc 3"), replacing: false, at: 7)
        #expect(
            samples(group) == [
                #"a{instance="",job="j"} 1"#, #"b{instance="",job="j",l="2"} 2"#, #"c{instance="",job="j"} 3"#,
                #"push_time_seconds{instance="",job="j"} 7"#, #"push_failure_time_seconds{instance="",job="j"} 5"#,
            ])
        // Protobuf has families without metrics, too.
        var empty = try families("c 4")
        empty[0].metrics = []
        group = try group.pushed(empty, replacing: false, at: 7)
        #expect(samples(group).contains { $0.hasPrefix("b{") } && !samples(group).contains { $0.hasPrefix("c{") })
        group = try group.pushed([], replacing: true, at: 8)
        #expect(samples(group).count == 2)
    }

    @Test("a timestamp is refused, also on the families that the group sets itself", arguments: ["a", "push_time_seconds"])
    func timestamps(name: String) throws {
        let group = try group()
        let pushed = try families("\(name) 5 1\nb 1")
        #expect(throws: FamilyFault.inconsistent("pushed metrics must not have timestamps")) {
            try group.pushed(pushed, replacing: true, at: 1)
        }
    }

    @Test("a failure changes one number of the text, whatever labels were added to it", arguments: ["", #",app="a 1\n}""#])
    func failure(added: String) throws {
        func failed(_ text: String, _ time: Double) -> String {
            Array(text.utf8).withUnsafeBytes { String(decoding: PushGroup.failed($0, at: time), as: UTF8.self) }
        }
        let group = try group().pushed(try families("a 1"), replacing: true, at: 6)
        let text = String(decoding: group.text, as: UTF8.self).replacing("} ", with: "\(added)} ")
        let expected = text.replacing("\(added)} 0\n", with: "\(added)} 1764310000.25\n")
        #expect(text != expected && failed(text, 1764310000.25) == expected)
        #expect(failed(expected, 0) == text)
    }

    @Test("a group is read again from its text, whatever is in it")
    func again() throws {
        let text = """
            # HELP h of \\n "h" # TYPE h gauge
            # TYPE h histogram
            h_bucket{le="1",l="a b\\n# TYPE x counter\\"}"} 1
            h_count 3
            # TYPE c counter
            c{l="}"} 1
            c{l="2"} 2e-7
            u 5
            """
        let group = try failed(try group("job/j/a/1"), at: 1764310000.25)
            .pushed(try families(text), replacing: true, at: 1764310000.1234567)
        let read = { (text: [UInt8]) in text.withUnsafeBytes { PushGroup(group.key, text: $0) } }
        #expect(read(group.text).text == group.text)
        // The families are there to be replaced, one by one.
        let next = try read(group.text).pushed(try families("c 7"), replacing: false, at: 9)
        #expect(samples(next).filter { $0.hasPrefix("c") } == [#"c{a="1",instance="",job="j"} 7"#])
        #expect(samples(next).contains(#"u{a="1",instance="",job="j"} 5"#))
        #expect(samples(next).contains(#"push_failure_time_seconds{a="1",instance="",job="j"} 1764310000.25"#))
        #expect(throws: FamilyFault.self) { try read(group.text).pushed(try families("h_count 7"), replacing: false, at: 9) }
        #expect(read([]).text == PushGroup(group.key).text)
    }

    @Test("a family without a help text, behind one that has one, is replaced alone")
    func withoutHelp() throws {
        let group = try group().pushed(try families("# HELP h Help.\n# TYPE h gauge\nh 1\n# TYPE i gauge\ni 5"), replacing: true, at: 1)
        let read = group.text.withUnsafeBytes { PushGroup(group.key, text: $0) }
        let next = try read.pushed(try families("i 6"), replacing: false, at: 2)
        #expect(samples(next).prefix(2) == [#"h{instance="",job="j"} 1"#, #"i{instance="",job="j"} 6"#])
    }

    @Test("histograms and summaries are written whole, +Inf added where it is missing")
    func distributions() throws {
        let text = """
            # HELP h two \\n lines
            # TYPE h histogram
            h_bucket{le="0.25"} 1
            h_sum 2
            h_count 3
            # TYPE s summary
            s{quantile="0.5"} NaN
            s_count 1
            """
        let group = try group().pushed(try families(text), replacing: true, at: 1)
        let expected = """
            # HELP h two \\n lines
            # TYPE h histogram
            h_bucket{instance="",job="j",le="0.25"} 1
            h_bucket{instance="",job="j",le="+Inf"} 3
            h_sum{instance="",job="j"} 2
            h_count{instance="",job="j"} 3
            # TYPE s summary
            s{instance="",job="j",quantile="0.5"} NaN
            s_sum{instance="",job="j"} 0
            s_count{instance="",job="j"} 1

            """
        #expect(String(decoding: group.text, as: UTF8.self).hasPrefix(expected))
    }

    @Test(
        "what would not be consistent is refused",
        arguments: [
            "a{__x=\"1\"} 1",
            "a 1 1600000000000", "a 1\na 2", "a{job=\"1\"} 1\na{job=\"2\"} 2", "a{x=\"1\",y=\"2\"} 1\na{y=\"2\",x=\"1\"} 1",
            "# TYPE h histogram\nh_bucket{le=\"1\"} 1\nh_bucket{le=\"1.0\"} 1",
            "# TYPE s summary\ns{quantile=\"1\"} 1\ns{quantile=\"1\"} 2",
            "# TYPE h histogram\nh_bucket{le=\"0\"} 1\nh_bucket{le=\"-0\"} 1",
            "# TYPE s summary\ns_count 1\n# TYPE s_bucket gauge\ns_bucket 1\n# TYPE s_count2 gauge\na 1 7",
        ])
    func refusals(text: String) throws {
        let families = try families(text)
        #expect(throws: FamilyFault.self) { try group().pushed(families, replacing: false, at: 1) }
    }

    @Test("two quantiles that are no numbers are written alike, and so are refused")
    func notNumbers() throws {
        var summary = Metric.Distribution()
        summary.points = [(at: .nan, value: 1), (at: Double(nan: 7, signaling: false), value: 2)]
        let family = MetricFamily(name: "s", kind: .summary, metrics: [Metric(value: .summary(summary))])
        #expect(throws: FamilyFault.self) { try group().pushed([family], replacing: true, at: 1) }
    }

    @Test("two zeros as bounds are refused, and named as they are written")
    func twoZeros() throws {
        var summary = Metric.Distribution()
        summary.points = [(at: 0, value: 1), (at: -0.0, value: 2)]
        let family = MetricFamily(name: "s", kind: .summary, metrics: [Metric(value: .summary(summary))])
        let fault = #expect(throws: FamilyFault.self) { try group().pushed([family], replacing: true, at: 1) }
        #expect(fault?.description.contains("the bucket or quantile 0 twice") == true)
    }

    @Test("a family of the name of another one's series is refused, pushed together or one after the other")
    func suffixes() throws {
        let count = try families("s_count 1")
        let summary = try families("# TYPE s summary\ns_sum 1")
        let first = try group().pushed(count, replacing: false, at: 1)
        #expect(throws: FamilyFault.self) { try first.pushed(summary, replacing: false, at: 2) }
        #expect(throws: Never.self) { try first.pushed(summary, replacing: true, at: 2) }
        for (kind, series) in [("summary", "_sum"), ("histogram", "_count"), ("histogram", "_sum"), ("histogram", "_bucket")] {
            let first = try group().pushed(try families("d\(series) 1"), replacing: false, at: 1)
            let second = try families("# TYPE d \(kind)\nd_\(series == "_sum" ? "count" : "sum") 1")
            #expect(throws: FamilyFault.self, "\(series) of a \(kind)") { try first.pushed(second, replacing: false, at: 2) }
        }
    }

    @Test("the text of its families is at most as large as its limit, pushed together or one after the other")
    func limit() throws {
        let (old, new) = (try families("a{x=\"1\"} 1"), try families("# HELP h Help.\n# TYPE h histogram\nh_bucket{le=\"1\"} 1"))
        let times = try group().pushed([], replacing: true, at: 1).text.count
        let size = try group().pushed(old, replacing: false, at: 1).pushed(new, replacing: false, at: 1).text.count - times
        func push(_ limit: Int) throws {
            let first = try group().pushed(old, replacing: false, at: 1, limit: limit)
            #expect(try first.pushed(new, replacing: false, at: 1, limit: limit).text.count == size + times)
        }
        try push(size)
        #expect(throws: FamilyFault.tooLarge(limit: size - 1)) { try push(size - 1) }
        #expect(throws: Never.self) { try group().pushed(old + new, replacing: false, at: 1, limit: size) }
        #expect(throws: FamilyFault.tooLarge(limit: size - 1)) { try group().pushed(old + new, replacing: false, at: 1, limit: size - 1) }
        #expect(throws: FamilyFault.tooLarge(limit: 10)) { try group().pushed(new, replacing: false, at: 1, limit: 10) }
    }

    @Test("lines that repeat a long name are not written beyond the limit")
    func repeatedName() throws {
        var metric = Metric(value: nil)
        var histogram = Metric.Distribution()
        histogram.points = (0..<1_000_000).map { (Double($0), 0) }
        metric.value = .histogram(histogram)
        // Its text would take a terabyte.
        let family = MetricFamily(name: String(repeating: "a", count: 1 << 20), kind: .histogram, metrics: [metric])
        #expect(throws: FamilyFault.tooLarge(limit: 4 << 20)) { try group().pushed([family], replacing: true, at: 1, limit: 4 << 20) }
    }

    @Test("what families take is counted while they are read, with the labels of their group")
    func cost() throws {
        let text = "a{x=\"1\"} 1\nb 2"
        func read(_ limit: Int, _ path: String) throws {
            var text = text
            let key = try GroupingKey(path: path)
            _ = try text.withUTF8 { try TextFamilies.read(UnsafeRawBufferPointer($0), FamilyCost(limit: limit, key: key)) }
        }
        // Two families of 65 bytes, two samples of 4 with job="j" of 8, and a label of 10.
        try read(164, "job/j")
        #expect(throws: FamilyFault.tooLarge(limit: 163)) { try read(163, "job/j") }
        #expect(throws: FamilyFault.tooLarge(limit: 164)) { try read(164, "job/j2") }
    }
}
