import NIOCore
import Testing

@testable import Proxy

@Suite("JSONPushDecoder")
struct JSONPushDecoderTests {
    @Test(
        "an object maps apps to a string or an array of lines",
        arguments: [
            (#"{"a": "a 1\na 2\n"}"#, ["a": "a 1\na 2\n"]),
            (#"{"a": "a 1"}"#, ["a": "a 1\n"]),
            (#"{"a": ["a 1", "a 2"]}"#, ["a": "a 1\na 2\n"]),
            (#"{"a": ["a 1", "", "a 2\n"]}"#, ["a": "a 1\n\na 2\n"]),
            (#"{"a": ["a 1\n", "a 2"]}"#, ["a": "a 1\n\na 2\n"]),
            (#"{"a": ["a 1", ""]}"#, ["a": "a 1\n"]),
            (#"{"a": "", "b": [], "c": [""]}"#, ["a": "", "b": "", "c": ""]),
            (#"{"a": ["", ""]}"#, ["a": "\n"]),
            (#"{"a": "x{l=\"v\"} 1\t\r\n"}"#, ["a": "x{l=\"v\"} 1\t\r\n"]),
            (#"{"gr\u00f6\u00dfe \ud83d\ude00": "\u00e9 \/ \\ \" 1"}"#, ["größe 😀": "é / \\ \" 1\n"]),
            (#"{"a": "} ] { [ , : \\\" }"}"#, ["a": "} ] { [ , : \\\" }\n"]),
            ("{ \"a\"\r\n:\t[ ] , \"b\" : \"b\" }", ["a": "", "b": "b\n"]),
        ])
    func values(json: String, apps: [String: String]) {
        let decoded = DecodedStream(json)
        #expect(decoded.rejection == nil)
        #expect(decoded.pushes == [apps])
    }

    @Test("of a repeated key the last counts, also among many")
    func repeated() {
        #expect(DecodedStream(#"{"a": "1", "b": "2", "a": ["3"]}"#).pushes == [["a": "3\n", "b": "2\n"]])
        let many = (0..<100).map { "\"app\($0 % 40)\": \"\($0)\"" }.joined(separator: ",")
        let expected = Dictionary((0..<100).map { ("app\($0 % 40)", "\($0)\n") }) { $1 }
        #expect(DecodedStream("{\(many)}").pushes == [expected])
    }

    @Test("the same letter in two forms makes two names, for they differ in bytes")
    func normalization() throws {
        var decoder = JSONPushDecoder(maxMessageSize: .mebibytes(1))
        decoder.feed(ByteBuffer(string: "{\"\u{E9}\": \"1\", \"e\u{301}\": \"2\"}"))
        #expect(try decoder.nextPush()?.apps.count == 2)
    }

    @Test("an empty object changes nothing and is no mistake")
    func emptyObject() {
        #expect(DecodedStream("{}") == DecodedStream(" { } "))
        #expect(DecodedStream("{}").pushes == [[:]])
    }

    @Test("objects follow one another with any white space, or none")
    func stream() {
        let decoded = DecodedStream("\n\t{\"a\":\"1\"}{\"b\":\"2\"} \r\n {\"a\":\"3\"}\n\n")
        #expect(decoded.pushes == [["a": "1\n"], ["b": "2\n"], ["a": "3\n"]])
        #expect(decoded.rejection == nil)
        #expect(DecodedStream("").rejection == nil)
        #expect(DecodedStream(" \n\r\t ").rejection == nil)
    }

    @Test("any run of backslashes before a quote, at any place of the 64 bytes that are looked at together")
    func backslashes() {
        for padding in 0..<70 {
            for run in 0...6 {
                // An even run leaves the quote to end the string, an odd one needs another.
                let text = String(repeating: "x", count: padding) + String(repeating: "\\", count: run) + (run % 2 == 0 ? "" : "\"}") + "\""
                let decoded = DecodedStream("{\"a\":\"\(text)}{\"b\":\"}\"}")
                #expect(decoded.rejection == nil, "\(run) after \(padding)")
                #expect(decoded.pushes.count == 2 && decoded.pushes.last == ["b": "}\n"], "\(run) after \(padding)")
            }
        }
    }

    @Test("an input that is one object, one that only ends like one, and what follows both", arguments: [false, true])
    func wholeInputs(beginsWithTwo: Bool) throws {
        var decoder = JSONPushDecoder(maxMessageSize: .mebibytes(1))
        func texts(_ input: String) throws -> [String] {
            decoder.feed(ByteBuffer(string: input))
            var texts: [String] = []
            while let push = try decoder.nextPush() { texts += push.apps.map { "\($0.name)=\(String(buffer: $0.exposition.buffer))" } }
            return texts
        }
        if beginsWithTwo { #expect(try texts(#"{"a":"1"} {"b":"2"}"#) == ["a=1\n", "b=2\n"]) }
        #expect(try texts(" {\"a\":\"\\u00e4\"}\n") == ["a=ä\n"])
        #expect(try texts(#"{"a":"{x}"#) == [])
        #expect(decoder.isWithinMessage)
        #expect(try texts(#"{y}"}"#) == ["a={x}{y}\n"])
        #expect(try texts(#"{"a":"3"}"#) == ["a=3\n"])
        #expect(!decoder.isWithinMessage && decoder.heldBytes == 0)
        try decoder.finish()
        #expect(throws: Rejection.nulByte(app: "a")) { try texts(#"{"a":"\u0000"}"#) }
    }

    @Test("what was complete before a mistake stays applied")
    func mistakeLater() {
        let decoded = DecodedStream("{\"a\":\"1\"} {\"b\": 5} {\"c\":\"3\"}")
        #expect(decoded.pushes == [["a": "1\n"]])
        #expect(decoded.rejection?.reason == .malformed)
    }

    @Test(
        "what is not an object of strings and arrays of strings is refused",
        arguments: [
            "[]", "\"a\"", "5", "null", "true", "x", ",", "}", "]", "{\"a\": 1}", "{\"a\": null}", "{\"a\": {}}", "{\"a\": [1]}",
            "{\"a\": [\"x\", [\"y\"]]}", "{\"a\": true}", "{\"a\"}", "{\"a\":}", "{\"a\": \"x\",}", "{a: \"x\"}", "{'a': 'x'}",
            "{\"a\": \"x\" \"b\": \"y\"}", "{]", "{\"a\": \"\\x\"}", "{\"a\": \"\\u12\"}", "{\"a\": \"x\ny\"}",
            "{\"a\": \"\\ud800\"}", "{\"\\udc00\": \"x\"}", "{\"a\": \"\\ud800\\u0041\"}", "{\"a\": 1e999}", "\u{FEFF}{}",
            "{\"a\": \"\u{1}\"}",
            "{/* no */}", "{\"a\": [\"x\",]}",
        ])
    func malformed(json: String) {
        let decoded = DecodedStream(json)
        #expect(decoded.rejection?.reason == .malformed, "\(String(describing: decoded.rejection))")
        #expect(decoded.pushes.isEmpty)
        DecodedStream.expectSameHoweverCut(Array(json.utf8), format: .json)
    }

    @Test(
        "an object that is cut short is refused at the end",
        arguments: ["{", "{\"a", "{\"a\": \"x", "{\"a\": \"x\\", "{\"a\": [", "{\"a\": \"x\"", "{\"a\":\"1\"}{", "{\"a\": [\"x\"}"])
    func truncated(json: String) {
        #expect(DecodedStream(json).rejection == .truncated)
    }

    @Test(
        "text that is not UTF-8 is refused",
        arguments: [[0xFF], [0xC3], [0xC0, 0x80], [0xED, 0xA0, 0x80], [0xF4, 0x90, 0x80, 0x80], [0xE2, 0x82]] as [[UInt8]])
    func notUTF8(bytes: [UInt8]) {
        for (before, after) in [("{\"a\": \"", "\"}"), ("{\"", "\": \"x\"}")] {
            let json = Array(before.utf8) + bytes + Array(after.utf8)
            #expect(DecodedStream(json, format: .json).rejection == .invalidUTF8(app: nil))
            DecodedStream.expectSameHoweverCut(json, format: .json)
        }
    }

    @Test("a NUL is refused, raw or escaped, in metrics and in names")
    func nul() {
        #expect(DecodedStream(#"{"a": "x\u0000y"}"#).rejection == .nulByte(app: "a"))
        #expect(DecodedStream(#"{"a": ["x", "\u0000"]}"#).rejection == .nulByte(app: "a"))
        #expect(DecodedStream("{\"a\": \"x\0y\"}").rejection?.reason == .malformed)
        #expect(DecodedStream(#"{"a\u0000": "x"}"#).rejection?.reason == .invalidName)
    }

    @Test("names that are none are refused")
    func names() {
        for name in ["", "\\n", "\\u007f", "\\u0085", String(repeating: "n", count: 257)] {
            #expect(DecodedStream("{\"\(name)\": \"x\"}").rejection?.reason == .invalidName, "\(name)")
        }
        #expect(DecodedStream("{\"\(String(repeating: "n", count: 256))\": \"x\"}").rejection == nil)
    }

    @Test("Cap'n Proto is told from JSON")
    func wrongFormat() {
        #expect(DecodedStream(CapnpMessages.oneSegment, format: .json).rejection == .wrongFormat(.capnp, expected: .json))
        #expect(DecodedStream(CapnpMessages.twoSegments(9000), format: .json).rejection == .wrongFormat(.capnp, expected: .json))
    }

    @Test("a TLS handshake is told by name")
    func tls() throws {
        let rejection = try #require(DecodedStream([0x16, 3, 1, 0, 0x80], format: .json).rejection)
        #expect(rejection.line.contains("TLS"))
    }

    @Test("an object of exactly the limit is taken, one byte more is refused before it ends")
    func limit() {
        let json = "{\"a\":\"\(String(repeating: "x", count: 92))\"}"
        #expect(json.utf8.count == 100)
        #expect(DecodedStream(json, limit: 100).pushes.count == 1)
        #expect(DecodedStream(json, limit: 99).rejection == .messageTooLarge(limit: ByteCount(99)))
        #expect(DecodedStream(Array(json.utf8), cutAt: Array(0..<100), format: .json, limit: 100).pushes.count == 1)
        // Refused as soon as it is certain: the end never came.
        #expect(DecodedStream(String(json.dropLast(2)) + "x", limit: 98).rejection == .messageTooLarge(limit: ByteCount(98)))
    }

    @Test("white space between objects does not count towards the limit, and is not held")
    func whiteSpace() throws {
        let space = String(repeating: " \n", count: 5000)
        #expect(DecodedStream("\(space){\"a\":\"1\"}\(space){\"a\":\"2\"}\(space)", limit: 10).pushes.count == 2)
        var decoder = JSONPushDecoder(maxMessageSize: ByteCount(10))
        for _ in 0..<100 {
            decoder.feed(ByteBuffer(string: space))
            let push = try decoder.nextPush()
            #expect(push == nil)
            #expect(!decoder.isWithinMessage && decoder.heldBytes == 0)
        }
    }

    @Test("white space behind the last object is no message, looked at or not")
    func spaceBehind() throws {
        var decoder = JSONPushDecoder(maxMessageSize: ByteCount(10))
        decoder.feed(ByteBuffer(string: "{}{} \n"))
        for isWithinMessage in [true, false] {
            #expect(try decoder.nextPush() != nil)
            #expect(decoder.isWithinMessage == isWithinMessage)
        }
        try decoder.finish()
    }

    @Test("bytes held are those of the incomplete object")
    func buffered() throws {
        var decoder = JSONPushDecoder(maxMessageSize: .mebibytes(1))
        decoder.feed(ByteBuffer(string: "{\"a\":\"1\"} {\"b"))
        #expect(try decoder.nextPush() != nil)
        #expect(try decoder.nextPush() == nil)
        #expect(decoder.isWithinMessage && decoder.heldBytes > 0)
        decoder.feed(ByteBuffer(string: "\":\"2\"}"))
        #expect(try decoder.nextPush() != nil)
        #expect(!decoder.isWithinMessage && decoder.heldBytes == 0)
    }

    @Test("an object that is large, or names many apps, is left for a pool", arguments: [false, true])
    func undecoded(isCut: Bool) throws {
        func message(of json: String) throws -> PushMessage? {
            var decoder = JSONPushDecoder(maxMessageSize: .mebibytes(16))
            let bytes = Array(json.utf8)
            for piece in isCut ? [bytes[..<7], bytes[7...]] : [bytes[...]] {
                decoder.feed(ByteBuffer(bytes: piece))
                if let message = try decoder.next() { return message }
            }
            return nil
        }
        func isUndecoded(_ json: String) throws -> Bool {
            if case .undecoded? = try message(of: json) { true } else { false }
        }
        func apps(_ count: Int) -> String { "{" + (0..<count).map { "\"\($0)\":\"\"" }.joined(separator: ",") + "}" }
        func text(_ size: Int) -> String { #"{"a":"\#(String(repeating: "x", count: size - 8))"}"# }
        #expect(try !isUndecoded(apps(1000)))
        #expect(try isUndecoded(apps(1001)))
        #expect(try !isUndecoded(text(UndecodedPush.inlineLimit)))
        #expect(try isUndecoded(text(UndecodedPush.inlineLimit + 1)))
    }

    @Test("decoding ends with the first app beyond the limit; a repeated name is none")
    func maxApps() throws {
        func decode(_ json: String, maxApps: Int) throws(Rejection) -> Push {
            var bytes = ByteBuffer(string: json)
            bytes.reserveCapacity(json.utf8.count + 64)
            return try UndecodedPush(content: .json(JSONMessage(bytes: bytes))).decode(maxApps: maxApps)
        }
        #expect(try decode(#"{"a":"1","b":"2","a":"3"}"#, maxApps: 2).apps.count == 2)
        #expect(throws: Rejection.tooManyApps(limit: 2)) { try decode(#"{"a":"1","b":"2","c":"3","d":5}"#, maxApps: 2) }
        #expect(throws: Rejection.tooManyApps(limit: 20)) {
            try decode("{" + (0..<100).map { "\"\($0)\":\"\"" }.joined(separator: ",") + "}", maxApps: 20)
        }
    }

    @Test("the cost that is told of a message covers its parser and its apps, and is not absurd for plain text")
    func cost() throws {
        func cost(_ json: String) -> (size: Int, cost: Int) {
            var decoder = JSONPushDecoder(maxMessageSize: .mebibytes(16))
            decoder.feed(ByteBuffer(string: json))
            guard case .undecoded(let message)? = try? decoder.next() else { return (0, 0) }
            return (message.size, message.decodingCost(maxApps: 100_000))
        }
        // A tape of two words, an index of four numbers and a string of twelve bytes for each app of eight bytes, and what is stored.
        let many = cost("{" + (0..<100_000).map { "\"\($0)\":\"\"" }.joined(separator: ",") + "}")
        #expect(many.cost > 100_000 * (16 + 16 + 12 + 300))
        let text = cost(#"{"a":"\#(String(repeating: "a_total 1\\n", count: 100_000))"}"#)
        #expect(text.cost < 3 * text.size)
    }

    @Test("any stream gives the same answer however it is cut")
    func cuts() {
        let streams = [
            #"{"a": "a 1\na 2\n", "b": ["x \"{\\", "y"]} {"c\\": "\\\"}", "größe": "\u00e9\ud83d\ude00"}"#,
            "  {\"a\":\"1\"}{\"a\":\"2\"}  {\"b\":[]}\n",
            "{\"a\": \"\(String(repeating: "\\\\", count: 70))\\\"\"}{\"b\":\"}\"}",
            "{\"a\": \"\(String(repeating: "line \\\" 1\\n", count: 300))\"} {\"b\": [\(String(repeating: "\"x\",", count: 50))\"y\"]}",
            "{\"a\": \"1\"} garbage", "{\"a\": \"1\"} {\"b\": \"2",
        ]
        for stream in streams { DecodedStream.expectSameHoweverCut(Array(stream.utf8), format: .json) }
        DecodedStream.expectSameHoweverCut(Array("{\"a\":\"12345\"}{\"b\":\"123456\"}".utf8), format: .json, limit: 13)
    }
}
