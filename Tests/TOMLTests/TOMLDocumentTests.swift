import Testing

@testable import TOML

@Suite struct TOMLDocumentTests {
    private func parse(_ text: String) throws -> TOMLTable { try TOMLDocument(parsing: Array(text.utf8)).root }

    private func failure(_ text: String) -> TOMLSyntaxError? { failure(Array(text.utf8)) }

    private func failure(_ bytes: [UInt8]) -> TOMLSyntaxError? {
        do {
            _ = try TOMLDocument(parsing: bytes)
            return nil
        } catch {
            return error
        }
    }

    /// Every key and value with its place: `key@line:column=value@line:column`, in order.
    private func outline(_ table: TOMLTable) -> String {
        table.entries.map { "\($0.key)@\(place($0.keyPosition))=\(outline($0.node))" }.joined(separator: " ")
    }

    private func outline(_ node: TOMLNode) -> String {
        switch node.value {
        case .table(let table): "{\(outline(table))}@\(place(node.position))"
        case .array(let elements): "[\(elements.map(outline).joined(separator: " "))]@\(place(node.position))"
        case .string(let text): "'\(text)'@\(place(node.position))"
        case .integer(let number): "\(number)@\(place(node.position))"
        case .float(let number): "f\(number)@\(place(node.position))"
        case .boolean(let flag): "\(flag)@\(place(node.position))"
        case .datetime(let text): "<\(text)>@\(place(node.position))"
        }
    }

    private func place(_ position: TOMLPosition) -> String { "\(position.line):\(position.column)" }

    @Test("keys and values know their places, in the order of the file")
    func places() throws {
        let table = try parse("z = 1\n[t]\n  b = \"x\" # no\n  a = [ true,\n 2.5 ]\n")
        #expect(outline(table) == "z@1:1=1@1:5 t@2:2={b@3:3='x'@3:7 a@4:3=[true@4:9 f2.5@5:2]@4:7}@2:1")
    }

    @Test("every type arrives as itself")
    func types() throws {
        let table = try parse(
            "s='a'\nm=\"\"\"\nb\"\"\"\ni=-0x10\n".replacing("-0x10", with: "0x10")
                + "n=-9223372036854775808\nf=1e3\nb=false\nd=1979-05-27\nt=07:32:00\no=1979-05-27T07:32:00Z\n")
        #expect(
            outline(table)
                == "s@1:1='a'@1:3 m@2:1='b'@2:3 i@4:1=16@4:3 n@5:1=-9223372036854775808@5:3 f@6:1=f1000.0@6:3 b@7:1=false@7:3 "
                + "d@8:1=<1979-05-27>@8:3 t@9:1=<07:32:00>@9:3 o@10:1=<1979-05-27T07:32:00Z>@10:3")
    }

    @Test("dotted keys, super tables, inline tables and arrays of tables become one tree")
    func shapes() throws {
        #expect(outline(try parse("a.b = 1\na.c = 2")) == "a@1:1={b@1:3=1@1:7 c@2:3=2@2:7}@1:1")
        #expect(outline(try parse("[a.b]\nx=1\n[a]\ny=2")) == "a@1:2={b@1:4={x@2:1=1@2:3}@1:1 y@4:1=2@4:3}@3:1")
        #expect(outline(try parse("i = { b = 1, a = {} }")) == "i@1:1={b@1:7=1@1:11 a@1:14={}@1:18}@1:5")
        #expect(outline(try parse("[[t]]\nu=1\n [[t]]\n[t.v]\nw=2")) == "t@1:3=[{u@2:1=1@2:3}@1:1 {v@4:4={w@5:1=2@5:3}@4:1}@3:2]@1:1")
        #expect(outline(try parse("\"a.b\" = 1\n'' = 2")) == "a.b@1:1=1@1:9 @2:1=2@2:6")
    }

    @Test("columns count characters, not bytes; a tab is one")
    func columns() throws {
        #expect(outline(try parse("\"ä€😀\"\t= 'é' # ü")) == "ä€😀@1:1='é'@1:9")
        #expect(failure("x = 'é' y")?.position == TOMLPosition(line: 1, column: 9))
    }

    @Test("a byte order mark and CRLF line ends are fine")
    func byteOrderMarkAndLineEnds() throws {
        let table = try TOMLDocument(parsing: [0xEF, 0xBB, 0xBF] + Array("a = 1\r\n[b]\r\nc = 'd'\r\n".utf8)).root
        #expect(outline(table) == "a@1:1=1@1:5 b@2:2={c@3:1='d'@3:5}@2:1")
    }

    @Test("nothing, and nothing but comments, is an empty table", arguments: ["", "\n", "# only this", "\u{FEFF}"])
    func empty(text: String) throws {
        #expect(try parse(text).entries.isEmpty)
    }

    @Test("strings may hold an escaped NUL, whole")
    func escapedNUL() throws {
        #expect(try parse("a = \"x\\u0000y\"")["a"]?.value == .string("x\u{0}y"))
    }

    @Test(
        "errors say where and what",
        arguments: [
            ("a = ", 1, 5, "in a key-value pair: the file ends within it"),
            ("a = 1\na = 2", 2, 5, "this name is given before, perhaps as another kind of value"),
            ("a = 5s", 1, 5, "text and durations stand in quotes"),
            ("a = optional", 1, 5, "text and durations stand in quotes"),
            ("a = 0.0.0.0:6555", 1, 5, "text and durations stand in quotes"),
            ("a = none", 1, 5, "text and durations stand in quotes"),
            ("a = \"é\"\nb = [\"é\",\t16MiB] # c", 2, 11, "text and durations stand in quotes"),
            ("a = 99999999999999999999 # b", 1, 5, "the number does not fit into 64 bits"),
            ("a=-99999999999999999999\r\n", 1, 3, "the number does not fit into 64 bits"),
            ("a = 0o668", 1, 5, "a character in it does not belong to a number"),
            ("a = 0b12", 1, 5, "a character in it does not belong to a number"),
            ("a = [1,tru]", 1, 8, "it is neither true nor false"),
            ("a = { b = 1e999 }", 1, 11, "it is not a number, or does not fit into 64 bits"),
            ("a = \"x\nb = 1", 1, 7, "in a string: its closing quote is missing"),
            ("[a]\n[a]", 2, 1, "in a table header: this name is given before, perhaps as another kind of value"),
            ("\n\n  ?", 3, 3, "here begins neither a key nor a table"),
            ("a = \"\\q\"", 1, 7, "escape"),
        ])
    func errors(text: String, line: Int, column: Int, message: String) throws {
        let error = try #require(failure(text))
        #expect(error.position == TOMLPosition(line: line, column: column), "\(error)")
        #expect(error.message.contains(message), "\(error)")
        #expect(!error.message.hasSuffix("."))
    }

    @Test(
        "a number that does not fit into 64 bits is an error without the number",
        arguments: [
            "98765432109876543210", "-98765432109876543210", "0xdeadbeefcafebabe0123456789", "0o7777777777777777777777777", "1234e56789",
        ])
    func tooLargeNumber(number: String) throws {
        let error = try #require(failure("a = \(number)"))
        #expect(error.message.contains("64 bits"))
        #expect(!error.message.contains(number.suffix(10)))
    }

    @Test(
        "a key that is given twice is not shown, because it may be a secret in a wrong place",
        arguments: [
            "KEY = 1\nKEY = 2", "[KEY]\n[KEY]", "KEY = 1\n[KEY]", "[[KEY]]\n[KEY]", "KEY.b = 1\nKEY = 1", "KEY = 1\nKEY.b = 1",
            "KEY = {}\n[KEY.b]", "a = { KEY = 1, KEY = 2 }",
        ])
    func repeatedKey(text: String) throws {
        let error = try #require(failure(text.replacing("KEY", with: "\"Bearer SECRET\"")))
        #expect(!error.message.contains("earer") && !error.message.contains("SECRET"), "\(error)")
    }

    @Test("no message shows three characters in a row of a malformed value, and each is one line")
    func messagesHaveNoTextOfTheFile() {
        // A linear congruential generator, so that each run has the same values. No message has such letters in capitals.
        var state: UInt64 = 1
        func random(_ count: Int) -> Int {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return Int(state >> 33) % count
        }
        let beginnings = [
            "", "0x", "0o", "0b", "tru", "fals", "in", "na", "19", "1979-05-27T", "07:32", "\"", "'", "'''", "[", "{ b = ", "\\",
        ]
        let characters = Array("0123456789ABCEFHIJKNQRSTVWXZ_+-.:\"'\\#=\n")
        let contexts = [
            "a = VALUE", "a = [VALUE]", "a = { b = VALUE }", "VALUE = 1\nVALUE = 2", "[VALUE]\n[VALUE]", "\"VALUE\" = 1\n\"VALUE\" = 2",
        ]
        var faults = 0
        for _ in 0..<5_000 {
            let end = (0..<(1 + random(30))).map { _ in characters[random(characters.count)] }
            let value = beginnings[random(beginnings.count)] + String(end)
            guard let error = failure(contexts[random(contexts.count)].replacing("VALUE", with: value)) else { continue }
            faults += 1
            #expect(!error.message.isEmpty && !error.message.contains(where: \.isNewline))
            let shown = end.indices.dropLast(2).first { error.message.contains(String(end[$0...($0 + 2)])) }
            #expect(shown == nil, "\(value.debugDescription): \(error)")
        }
        #expect(faults > 2_500)
    }

    @Test(
        "a message is one line",
        arguments: ["a = tru\n", "a = fals\r\n", "a = in\nb", "a\n", "a = 1\u{2028}"])
    func oneLine(text: String) throws {
        let error = try #require(failure(text))
        #expect(!error.message.isEmpty && !error.message.contains(where: \.isNewline), "\(error)")
    }

    @Test(
        "a table's name that begins with no letter is refused at its place",
        arguments: [
            ("[!x]", 2), ("[[!x]]", 3), ("[ =]", 3), ("\u{FEFF}[!]", 2), (" \t[é]", 4), ("[\n]", 2), ("[#]", 2), ("[,]", 2), ("[.a]", 2),
            ("[[[a]]]", 3),
        ])
    func tableName(text: String, column: Int) throws {
        let error = try #require(failure(text))
        #expect(error.position == TOMLPosition(line: 1, column: column))
        #expect(error.message.contains("a table's name begins with"))
        // In its place it is an error too, elsewhere it is none.
        #expect(failure("a = [\n[1],\n[2]]\nb = \"\"\"\n\(text)\n\"\"\"") == nil)
        #expect(failure("a = 1\n\(text)\n")?.position.line == 2)
    }

    @Test("bytes that are not UTF-8, and NUL, are refused at their place")
    func encoding() throws {
        for (bytes, word) in [([0xFF], "UTF-8"), ([0xC3], "UTF-8"), ([0xED, 0xA0, 0x80], "UTF-8"), ([0x00], "NUL")] as [([UInt8], String)] {
            let error = try #require(failure(Array("# ü\na = 'é".utf8) + bytes + Array("'\n".utf8)))
            #expect(error.position == TOMLPosition(line: 2, column: 7))
            #expect(error.message.contains(word), "\(error)")
        }
        #expect(failure([0xFF, 0xFE, 0x61, 0x00])?.position == TOMLPosition(line: 1, column: 1))
    }

    @Test("a text at the size limit is read, one byte more is refused")
    func size() throws {
        let head = Array("a = 1\n#".utf8)
        let whole = head + [UInt8](repeating: 0x20, count: TOMLDocument.maxSize - head.count)
        #expect(try TOMLDocument(parsing: whole).root.entries.count == 1)
        #expect(failure(whole + [0x20])?.message.contains("1048577 bytes") == true)
    }

    @Test("keys as deep as allowed are read, one part more is refused, in whatever place they stand")
    func keyDepth() throws {
        let deepest = Array(repeating: "k", count: TOMLDocument.maxKeyParts).joined(separator: ".")
        for (before, after) in [("", " = 1"), ("[", "]"), ("[[", "]]"), ("a = { ", " = 1 }"), ("x = \"# [\" # '\n", " = 1")] {
            #expect(failure(before + deepest + after) == nil)
            #expect(failure(before + deepest + ".k" + after)?.message.contains("more than 16 parts") == true)
        }
        #expect(failure(Array(repeating: "k", count: 20000).joined(separator: ".") + "=1")?.position == TOMLPosition(line: 1, column: 32))
        #expect(failure(Array(repeating: "'k'", count: 17).joined(separator: " . ") + "=1") != nil)
        // Dots in values, strings and comments are none of a key's.
        #expect(failure("a = '\(deepest).k' # \(deepest).k\nb = [\(Array(repeating: "1.5", count: 30).joined(separator: ","))]") == nil)
        #expect(failure("a = \"\"\"\n\\\"\"\" \(deepest).\(deepest) \"\"\"\"\"\nb = 1") == nil)
        // Up to two quotes stand before the three that end a string, and what follows on its line is looked at.
        for quote in ["\"", "'"] {
            for count in 3...5 {
                let begin = "a = {b = \(String(repeating: quote, count: 3))x\(String(repeating: quote, count: count)), "
                #expect(failure("\(begin)\(deepest) = 1}") == nil, "\(begin)")
                #expect(failure("\(begin)\(deepest).k = 1}") != nil, "\(begin)")
            }
        }
    }

    @Test("values nested as deep as allowed are read, one level more is refused")
    func nesting() throws {
        let limit = TOMLDocument.maxNesting
        func nested(_ depth: Int) -> String {
            "a = " + String(repeating: "[", count: depth) + String(repeating: "]", count: depth)
        }
        #expect(failure(nested(limit - 1)) == nil)
        #expect(failure(nested(limit)) == nil)
        #expect(failure(nested(limit + 1))?.position == TOMLPosition(line: 1, column: 5 + limit))
        #expect(failure("a = " + String(repeating: "{b=", count: 20000)) != nil)
        #expect(failure("a = " + String(repeating: "[", count: 500_000)) != nil)
        // Each level as deep as keys may be: the deepest tree there is.
        let key = Array(repeating: "k", count: TOMLDocument.maxKeyParts).joined(separator: ".")
        let deepest = (1..<limit).reduce("1") { inner, _ in "{\(key) = \(inner)}" }
        #expect(failure("[\(key)]\n\(key) = \(deepest)") == nil)
    }

    @Test("any text cut anywhere gives a tree or an error inside the text")
    func truncation() {
        let text = Array(
            "\u{FEFF}a.b = [1, {c = \"é\\n\"}, '''x''']\r\n[t.u]\n\"k\" = 1979-05-27T07:32:00.5+01:00\n[[v]]\nf = -1.5e3 # ü\n".utf8)
        let lines = text.count { $0 == 0x0A } + 1
        for length in 0...text.count {
            guard let error = failure(Array(text[..<length])) else { continue }
            #expect((1...lines).contains(error.position.line) && error.position.column >= 1)
            #expect(!error.message.isEmpty)
        }
    }
}
