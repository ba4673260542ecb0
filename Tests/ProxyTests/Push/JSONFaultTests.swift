import NIOCore
import Testing

@testable import Proxy

@Suite("JSONFault")
struct JSONFaultTests {
    @Test(
        "the first byte that does not fit is named, with the app that it belongs to",
        arguments: [
            ("{\"a\": \"a 1\na 2\"}", #"line 1 of the metrics of app "a" ends in a raw line break at byte 11: write \n in its place"#),
            (
                "{\"b\": \"\", \"a\": \"a 1\\na 2\r\n\"}",
                #"line 2 of the metrics of app "a" ends in a raw line break at byte 25: write \r in its place"#
            ),
            (
                "{\"a\": [\"a 1\", \"a 2\n\"]}",
                #"line 2 of the metrics of app "a" ends in a raw line break at byte 19: write \n in its place"#
            ),
            ("{\"a\": \"a\t1\"}", #"line 1 of the metrics of app "a" holds a raw tab at byte 9: write \t in its place"#),
            (
                "{\"a\": \"a\u{1}1\"}",
                #"line 1 of the metrics of app "a" holds the control character byte 0x01 at byte 9: write \u0001 in its place"#
            ),
            ("{\"a\nb\": \"\"}", "an app name ends in a raw line break at byte 4, but a name has no control characters"),
            ("{a: \"x\"}", "found 'a' at byte 2 where an app name in double quotes should be"),
            ("{\"a\" \"x\"}", "found '\"' at byte 6 where ':' should be"),
            ("{\"a\": \"x\",}", "found '}' at byte 11 where an app name in double quotes should be"),
            ("{\"a\": \"x\" \"b\": \"y\"}", "found '\"' at byte 11 where ',' or '}' should be"),
            ("{\"a\": [\"x\",]}", "found ']' at byte 12 where a string or an array of strings should be, in the metrics of app \"a\""),
            (
                #"{"a": "x\udcff"}"#,
                #"half of a surrogate pair at byte 9, in the metrics of app "a": write the whole pair, or \ufffd in its place"#
            ),
            (
                #"{"a": "\ud83d\ude00\ud83dx"}"#,
                #"half of a surrogate pair at byte 20, in the metrics of app "a": write the whole pair, or \ufffd in its place"#
            ),
            (#"{"\ud800\u0041": ""}"#, #"half of a surrogate pair at byte 3: write the whole pair, or \ufffd in its place"#),
            (#"{"a": 1e400}"#, #"found '1' at byte 7 where a string or an array of strings should be, in the metrics of app "a""#),
            (#"{"a": ["x", -]}"#, #"found '-' at byte 13 where a string or an array of strings should be, in the metrics of app "a""#),
            ("{\"a\": 'x'}", "found ''' at byte 7 where a string or an array of strings should be, in the metrics of app \"a\""),
            ("{\"a\": \"\\x\"}", "'\\' begins no escape with 'x' at byte 9, in the metrics of app \"a\": write '\\\\' for a backslash"),
            (
                "{\"a\": \"\\u12\"}",
                "found '\"' at byte 12 where one of four hexadecimal digits after '\\u' should be, in the metrics of app \"a\""
            ),
        ])
    func faults(json: String, words: String) {
        #expect(DecodedStream(json).rejection == .malformedJSON(words))
    }

    @Test("every object that the parser refuses has a place, cut anywhere or with any byte replaced")
    func everywhere() {
        let json = Array(#"{"a": "x\n\u00e9", "b": ["y", "z"], "c": [], "d": {"e": [1, true, null]}}"#.utf8)
        var found = 0
        for index in json.indices {
            for byte in [0x00, 0x0A, 0x20, 0x22, 0x2C, 0x3A, 0x5B, 0x5C, 0x5D, 0x7B, 0x7D, 0x41] as [UInt8] {
                var changed = json
                changed[index] = byte
                // What the parser takes need not be right for the finder, and is never shown to it.
                guard case .malformedJSON(let words)? = DecodedStream(changed, format: .json).rejection else { continue }
                #expect(!words.isEmpty)
                if words.contains("byte ") { found += 1 }
            }
        }
        #expect(found > 300, "\(found)")
    }

    @Test("an object nested without end is refused without recursion to match")
    func nested() {
        let json = "{\"a\": " + String(repeating: "[", count: 10_000) + String(repeating: "]", count: 10_000) + "}"
        let words = #"values are nested more than 16 deep at byte 22, in the metrics of app "a""#
        #expect(DecodedStream(json).rejection == .malformedJSON(words))
    }
}
