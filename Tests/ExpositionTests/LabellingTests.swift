import Exposition
import TestSupport
import Testing

@Suite("Labels are added")
struct LabellingTests {
    private func labelled(_ text: String, _ labels: KeyValuePairs<String, String> = ["app": "N"]) -> String? {
        switch ExpositionTests.labelled(Array(text.utf8), labels) {
        case .success(let bytes): String(decoding: bytes, as: UTF8.self)
        case .failure: nil
        }
    }

    /// A text, and the same with `app="N"`.
    static let texts = [
        ("", ""), ("\n", "\n"), ("a 1\n", "a{app=\"N\"} 1\n"), ("a\t1 2 \n", "a{app=\"N\"}\t1 2 \n"), ("a.5\n", "a{app=\"N\"}.5\n"),
        ("a{} 1\n", "a{app=\"N\"} 1\n"), ("a{ } 1\n", "a{ app=\"N\"} 1\n"), ("a {}1\n", "a {app=\"N\"}1\n"),
        ("a{b=\"c\"} 1\n", "a{b=\"c\",app=\"N\"} 1\n"), ("a{b=\"c\" } 1\n", "a{b=\"c\" ,app=\"N\"} 1\n"),
        ("a{b=\"c\",} 1\n", "a{b=\"c\",app=\"N\"} 1\n"), ("a{b=\"c\", } 1\n", "a{b=\"c\", app=\"N\"} 1\n"),
        ("a{b=\"}\"} 1\n", "a{b=\"}\",app=\"N\"} 1\n"), ("a{b=\"c\n,\"} 1\n", "a{b=\"c\n,\",app=\"N\"} 1\n"),
        ("{\"a b\"} 1\n", "{\"a b\",app=\"N\"} 1\n"), ("{\"a\",} 1\n", "{\"a\",app=\"N\"} 1\n"),
        // Renaming.
        ("a{app=\"x\"} 1\n", "a{exported_app=\"x\",app=\"N\"} 1\n"), ("a{app=\"\"} 1\n", "a{exported_app=\"\",app=\"N\"} 1\n"),
        ("a{\"app\"=\"x\"} 1\n", "a{\"exported_app\"=\"x\",app=\"N\"} 1\n"),
        ("a{exported_app=\"y\",app=\"x\"} 1\n", "a{exported_app=\"y\",exported_exported_app=\"x\",app=\"N\"} 1\n"),
        ("a{app=\"x\",\"exported_app\"=\"\"} 1\n", "a{exported_exported_app=\"x\",\"exported_app\"=\"\",app=\"N\"} 1\n"),
        (
            "a{exported_exported_app=\"z\",app=\"x\"} 1\n",
            "a{exported_exported_app=\"z\",exported_app=\"x\",app=\"N\"} 1\n"
        ),
        ("a{exported_app=\"y\"} 1\n", "a{exported_app=\"y\",app=\"N\"} 1\n"),
        ("a{xapp=\"y\",ap=\"z\"} 1\n", "a{xapp=\"y\",ap=\"z\",app=\"N\"} 1\n"),
        ("a{app=\"\",app=\"x\"} 1\n", "a{exported_app=\"\",exported_app=\"x\",app=\"N\"} 1\n"),
        // All else stays.
        ("# HELP a{} x\n# TYPE a gauge\n#a 1\n \t\n  # b 2\n", "# HELP a{} x\n# TYPE a gauge\n#a 1\n \t\n  # b 2\n"),
    ]

    @Test("each sample gets the label last in its braces, and nothing else changes", arguments: texts)
    func places(text: (String, String)) {
        #expect(labelled(text.0) == text.1)
    }

    @Test("several labels come in their order; each renames what has its name, and no new name is taken twice")
    func several() {
        #expect(labelled("a 1\n", ["app": "N", "env": "prod"]) == "a{app=\"N\",env=\"prod\"} 1\n")
        #expect(
            labelled("a{env=\"x\",app=\"y\"} 1\n", ["app": "N", "env": "p"])
                == "a{exported_env=\"x\",exported_app=\"y\",app=\"N\",env=\"p\"} 1\n")
        // A new label may have the name that a renamed one would get.
        #expect(
            labelled("a{app=\"x\"} 1\n", ["app": "N", "exported_app": "p"])
                == "a{exported_exported_app=\"x\",app=\"N\",exported_app=\"p\"} 1\n")
        #expect(
            labelled("a{app=\"x\",exported_app=\"y\"} 1\n", ["app": "N", "exported_app": "p"])
                == "a{exported_exported_app=\"x\",exported_exported_exported_app=\"y\",app=\"N\",exported_app=\"p\"} 1\n")
        #expect(labelled("a{b=\"c\"} 1\n", [:]) == "a{b=\"c\"} 1\n")
    }

    @Test("values are escaped")
    func escaping() {
        #expect(labelled("a 1\n", ["app": "q\"b\\n\n\u{1}größe"]) == "a{app=\"q\\\"b\\\\n\\n\u{1}größe\"} 1\n")
    }

    @Test("invalid metrics get no labels, and the first error says why")
    func invalid() {
        #expect(labelled("a 1\nb\n") == nil)
        guard case .failure(let finding) = ExpositionTests.labelled(Array("a 1\nb\n".utf8), ["app": "N"]) else {
            Issue.record("labelled")
            return
        }
        #expect(finding == firstError("a 1\nb\n"))
    }

    @Test("a sample has at most ten thousand labels, with those that are added")
    func manyLabels() {
        func sample(_ count: Int) -> [UInt8] {
            Array("a 1\nb{\((0..<count).map { "l\($0)=\"x\"" }.joined(separator: ","))} 1\n".utf8)
        }
        let cases: [(KeyValuePairs<String, String>, Int)] = [(["app": "N"], 9_999), (["app": "N", "env": "p"], 9_998)]
        for (added, most) in cases {
            guard case .success(let result) = ExpositionTests.labelled(sample(most), added) else {
                Issue.record("not labelled: \(added)")
                continue
            }
            #expect(firstError(result) == nil)
            guard case .failure(let finding) = ExpositionTests.labelled(sample(most + 1), added) else {
                Issue.record("labelled: \(added)")
                continue
            }
            #expect(finding.message.hasPrefix("more than 10000 labels in one sample"))
            #expect(finding.line == 2 && finding.column == 1)
        }
    }

    @Test("labelled text is valid exactly when the text is, and without the labels it equals the text", arguments: 1...4)
    func properties(seed: UInt64) {
        var texts = RandomTexts(seed: seed &* 0x9E37_79B9)
        var valid = 0
        for _ in 0..<3000 {
            let text = texts.next()
            let error = firstError(text)
            switch ExpositionTests.labelled(text, ["app": "l\"q", "env": "p"]) {
            case .failure(let finding): #expect(finding == error, "\(String(decoding: text, as: UTF8.self))")
            case .success(let result):
                valid += 1
                #expect(error == nil && firstError(result) == nil, "\(String(decoding: text, as: UTF8.self))")
                #expect(survey(result).samples == survey(text).samples)
                let ended = text.isEmpty || text.last == UInt8(ascii: "\n") ? text : text + [UInt8(ascii: "\n")]
                let labels = "app=\"l\\\"q\",env=\"p\""
                #expect(
                    `is`(result, ended, with: [",\(labels)", "{\(labels)}", labels, "exported_"]),
                    "\(String(decoding: text, as: UTF8.self))")
            }
        }
        #expect(valid > 300 && valid < 2700)
    }

    /// Whether the bytes are the text with nothing but some of `words` inserted. No word begins with the byte that follows its place.
    private func `is`(_ bytes: [UInt8], _ text: [UInt8], with words: [String]) -> Bool {
        var index = 0
        var rest = bytes[...]
        while let byte = rest.first {
            if index < text.count, text[index] == byte {
                index += 1
                rest = rest.dropFirst()
            } else if let word = words.first(where: { rest.starts(with: $0.utf8) }) {
                rest = rest.dropFirst(word.utf8.count)
            } else {
                return false
            }
        }
        return index == text.count
    }
}
