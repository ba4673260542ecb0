/// Texts that Prometheus 3 reads.
public let validMetrics = [
    "", "\n\n", "a 1", "a 1\n", "a\t1\n", "a 1 \t\n", "  \t\na 1\n", ":a 1\n", "a:b:c 1\n", "_ 1\n",
    // Between name, braces, value and timestamp.
    "a{} 1\n", "a{}1\n", "a {b=\"c\"} 1\n", "a { b = \"c\" , d = \"e\" } 1\n", "a{b=\"c\",} 1\n", "a{b=\"c\"d=\"e\"} 1\n",
    "a.5\n", "a-1 5\n", "a+Inf\n",
    // Values.
    "a 1.\n",
    "a .5e+3\n",
    "a -.5E-3\n",
    "a +1\n",
    "a nan\n",
    "a NaN\n",
    "a Inf\n",
    "a -iNf\n",
    "a +infinity\n",
    "a 1e-400\n",
    "a 0e999\n",
    "a 00000000000000000000000000000000000001\n",
    "a 1.7976931348623158e308\n",
    "a 17976931348623157\(String(repeating: "0", count: 292))\n",
    "a 0.000\(String(repeating: "0", count: 300))1e610\n",
    // Timestamps.
    "a 1 0\n", "a 1 9223372036854775807\n", "a 1 00000000000000000000001\n",
    // Label values.
    "a{b=\"\\x\"} 1\n", "a{b=\"\\\\\"} 1\n", "a{b=\"\\\"\"} 1\n", "a{b=\"c\nd\"} 1\n", "a{b=\"größe €\"} 1\n", "a{b=\"{},#\"} 1\n",
    // A label without a value is dropped, with all of its name.
    "a{b=\"\",b=\"c\"} 1\n", "a{b=\"c\",b=\"\"} 1\n",
    // Names in quotes.
    "{\"a b\"} 1\n",
    "{\"a\",b=\"c\"} 1\n",
    "{b=\"c\",\"a\",} 1\n",
    "a{\"b.c\"=\"d\"} 1\n",
    "{\"größe\",\"a\\\"b\"=\"c\"} 1\n",
    "a{\"\"=\"\"} 1\n",
    // Comments.
    "#\n",
    "# \n",
    "#HELP\n",
    "# HELP\n",
    "# HELPx\n",
    "#x\r\n",
    "# EOF\n",
    "   # TYPE a gauge\n",
    "# TYPE a untyped\n",
    "# TYPE a-gauge\n",
    "#\tTYPE\ta\tgauge\n",
    "# HELP a\n",
    "# HELP a   \n",
    "# HELP a b \\ c\r\n",
    "# HELP a-b c\n",
    "# HELP \"a b\" c\n",
    "# TYPE \"a\" gauge\n",
    "# TYP a nothing\n", "# HELP a é\n",
    // What only strict readers refuse.
    "a 1\na 1\n", "a 1\n# TYPE a gauge\n", "# TYPE a gauge\n# TYPE a counter\n# HELP a b\n# HELP a c\n", "a 1\nb 1\na{c=\"d\"} 1\n",
    " a 1\n",
]

/// Texts that Prometheus refuses; the line, the column and a part of the message that the first fault gets.
public let invalidMetrics: [(text: String, line: Int, column: Int, message: String)] = [
    ("backup_seconds 12,5\n", 1, 16, "write a decimal point"),
    ("a 1\nb\nc 1\n", 2, 2, "unexpected end of line: expected a value"),
    ("a\n", 1, 2, "expected a value"),
    ("a{b=\"c\"} \n", 1, 10, "expected a value"),
    ("a{b=\"c\"}{d=\"e\"} 1\n", 1, 9, "expected a value"),
    ("1a 1\n", 1, 1, "unexpected '1': a line begins with a metric name or #"), ("\u{B}a 1\n", 1, 1, "unexpected '\\u{B}'"),
    ("\u{FEFF}a 1\n", 1, 1, "byte order mark"), ("a 1\n\u{FEFF}a 1\n", 2, 1, "a line begins"),
    ("a 1\n\r\n", 2, 1, "LF alone"), ("a 1\r\n", 1, 3, "LF alone"), ("# TYPE a gauge\r\n", 1, 10, "LF alone"),
    ("größe 1\n", 1, 3, "is not a number"), ("a-b 1\n", 1, 2, "\"-b\" is not a number"),
    // Values.
    ("a .\n", 1, 3, "not a number"),
    ("a 1e\n", 1, 3, "not a number"),
    ("a 1e+\n", 1, 3, "not a number"),
    ("a +\n", 1, 3, "not a number"),
    ("a 0x10\n", 1, 3, "not a number"), ("a 0x1p3\n", 1, 3, "not a number"), ("a 1_000\n", 1, 3, "not a number"),
    ("a +nan\n", 1, 3, "not a number"),
    ("a infin\n", 1, 3, "not a number"),
    ("a 1.2.3\n", 1, 3, "not a number"),
    ("a e5\n", 1, 3, "not a number"),
    ("a é\n", 1, 3, "not a number"), ("a 1e5x\n", 1, 3, "not a number"),
    ("a 1e400\n", 1, 3, "too large"), ("a -1e309\n", 1, 3, "too large"), ("a 1.7976931348623159e308\n", 1, 3, "too large"),
    ("a 18\(String(repeating: "0", count: 307))\n", 1, 3, "too large"), ("a 1e99999999999999999999\n", 1, 3, "too large"),
    // Timestamps.
    ("a 1 -1\n", 1, 5, "unexpected '-'"), ("a 1 1.5\n", 1, 6, "after the timestamp"), ("a 1 1 1\n", 1, 7, "after the timestamp"),
    ("a 1 9223372036854775808\n", 1, 5, "too large"), ("a 1 # c\n", 1, 5, "unexpected '#'"), ("a 1{\n", 1, 4, "unexpected '{'"),
    // Braces.
    ("a{b}\n", 1, 4, "expected ="),
    ("a{b c=\"d\"} 1\n", 1, 5, "expected ="),
    ("a{b=c} 1\n", 1, 5, "double quotes"),
    ("a{b='c'} 1\n", 1, 5, "unexpected '''"),
    ("a{,} 1\n", 1, 3, "expected a label name"),
    ("a{b=\"c\",,} 1\n", 1, 9, "expected a label name"),
    ("a{1=\"c\"} 1\n", 1, 3, "label name"),
    ("a{b:c=\"d\"} 1\n", 1, 4, "unexpected ':'"),
    ("a{b=\"c\"\n", 1, 8, "unexpected end of line"),
    ("a{\n", 1, 3, "unexpected end of line"),
    ("a{b=\"c} 1\n", 1, 5, "quoted text has no end"), ("a{b=\"\\\n\"} 1\n", 1, 5, "no end"),
    ("a{b=\"c\"} 1\nd{e=\"f} 1\ng{h=\"i\"} 1\n", 2, 5, "does not end on this line"),
    ("a{b=\"c\",b=\"d\"} 1\n", 1, 9, "\"b\" occurs twice"), ("a{b=\"c\",\"b\"=\"c\"} 1\n", 1, 10, "occurs twice"),
    ("a{\"\\\"\"=\"c\",d=\"e\",\"\\\"\"=\"f\"} 1\n", 1, 19, "occurs twice"),
    ("a{__name__=\"b\"} 1\n", 1, 3, "reserved"), ("a{\"__name__\"=\"\"} 1\n", 1, 4, "reserved"),
    // Names in quotes.
    ("{} 1\n", 1, 1, "missing metric name"),
    ("{b=\"c\"} 1\n", 1, 1, "missing metric name"),
    ("{\"\"} 1\n", 1, 2, "empty name"),
    ("a{\"\"=\"b\"} 1\n", 1, 3, "empty name"),
    ("{\"a\",\"b\"} 1\n", 1, 6, "second metric name"),
    ("a{\"b\"} 1\n", 1, 3, "second metric name"),
    ("{\"a\",,} 1\n", 1, 6, "label name"),
    ("{\"a\" \"b\"} 1\n", 1, 6, "expected ="),
    // HELP and TYPE.
    ("# HELP \n", 1, 8, "expected a metric name after # HELP"),
    ("# TYPE 1a gauge\n", 1, 8, "after # TYPE"),
    ("# TYPE \"a gauge\n", 1, 8, "no end"),
    ("# TYPE a\n", 1, 9, "missing type"),
    ("# TYPE a  \n", 1, 11, "missing type"),
    ("# TYPE a Gauge\n", 1, 10, "unknown type \"Gauge\""),
    ("# TYPE a  gauge\n", 1, 10, "unknown type \" gauge\""), ("# TYPE a gauge \n", 1, 10, "unknown type \"gauge \""),
    ("# TYPE a unknown\n", 1, 10, "unknown type"), ("# HELP größe b\n", 1, 10, "unexpected 'ö' in a metric name"),
]

/// Small texts as exporters write them, and what mutation makes of them. The same seed gives the same texts.
public struct RandomTexts {
    private var state: UInt64

    /// Texts that the seed alone decides.
    public init(seed: UInt64) { state = seed }

    private static let real = [
        """
        # HELP http_requests_total The total number of HTTP requests.
        # TYPE http_requests_total counter
        http_requests_total{method="post",code="200"} 1027
        http_requests_total{method="post",code="400"}    3

        """,
        "# Escaping in label values:\nmsdos_file_access_time_seconds{path=\"C:\\\\DIR\\\\FILE.TXT\",error=\"no file:\\n\\\"FILE.TXT\\\"\"} 1.458255915e9\n",
        "metric_without_timestamp_and_labels 12.47\nsomething_weird{problem=\"division by zero\"} +Inf\n",
        """
        # TYPE go_gc_duration_seconds summary
        go_gc_duration_seconds{quantile="0"} 4.9351e-05
        go_gc_duration_seconds{quantile="1",} 0.000112326
        go_gc_duration_seconds_sum 1.2e+06
        go_gc_duration_seconds_count NaN

        """,
        "node_uname_info{domainname=\"(none)\",nodename=\"größe\",app=\"own\",exported_app=\"x\"} 1\n# HELP node_x x \\n y\n# TYPE node_x untyped\nnode_x{app=\"\"} -0.5e-3\n",
        "a 1\nb{c=\"d\"} 2\n\n# EOF\n",
        "{\"quoted.name\",\"label.name\"=\"x\",app=\"y\"} 1\nb{\"app\"=\"z\",} 2",
    ]

    private static let pieces =
        [
            " ", "\t", "\n", "\"", "\\", "{", "}", ",", "=", "#", ":", "0", "9", ".", "e", "E", "+", "-", "_", "x", "é", "\r", "n", "NaN",
            "Inf",
            "# TYPE ", "# HELP ", "gauge", "le=\"1\",", "a=\"\",", "{}", "\u{1}", "\u{7f}", "1e999", "__name__=\"x\"", "p", "/", "@", "[",
            "`", "€",
            "app=\"\",", "app=\"b\",", "exported_app=\"c\"", "\"app\"=\"d\"", "\"q\",", "exporter_proxy_x 1\n",
        ].map { Array($0.utf8) } + [[0xFF], [0xC3], [0xE2, 0x82]]

    /// A number below `limit` (xorshift64*).
    private mutating func random(_ limit: Int) -> Int {
        state ^= state >> 12
        state ^= state << 25
        state ^= state >> 27
        return Int((state &* 0x2545_F491_4F6C_DD1D) >> 33) % limit
    }

    /// The next text, which may be anything but long.
    public mutating func next() -> [UInt8] {
        var text = Array(RandomTexts.real[random(RandomTexts.real.count)].utf8)
        for _ in 0..<random(4) {
            let place = random(text.count + 1)
            switch random(6) {
            case 0, 1, 2: text.insert(contentsOf: RandomTexts.pieces[random(RandomTexts.pieces.count)], at: place)
            case 3 where place < text.count: text.remove(at: place)
            case 4 where place < text.count:
                text.replaceSubrange(place...place, with: RandomTexts.pieces[random(RandomTexts.pieces.count)])
            default:
                let end = min(text.count, place + random(20))
                text.insert(contentsOf: Array(text[place..<end]), at: random(text.count + 1))
            }
        }
        return text
    }
}
