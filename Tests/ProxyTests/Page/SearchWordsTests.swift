import Testing

@testable import Proxy

@Suite("Words of the page's search")
struct SearchWordsTests {
    private func folded(_ text: String) -> String {
        var bytes: [UInt8] = []
        SearchWords.fold(text, into: &bytes)
        return String(decoding: bytes, as: UTF8.self)
    }

    @Test("capital letters become the small ones that Unicode knows, and everything else stays as it is")
    func fold() {
        // U+0130 becomes two characters in lower case. The final sigma becomes the other small one.
        let exceptions: Set<UInt32> = [0x130, 0x3C2]
        for value in (0...0x52F as ClosedRange<UInt32>) where !exceptions.contains(value) {
            guard let scalar = Unicode.Scalar(value), !(0x180...0x385).contains(value), !(0x3CF...0x3FF).contains(value) else { continue }
            #expect(folded(String(scalar)) == scalar.properties.lowercaseMapping, "U+\(String(value, radix: 16))")
        }
        #expect(folded("Größe ÄPFEL Ω Ж 大 😀 ✓") == "größe äpfel ω ж 大 😀 ✓")
        #expect(folded("ΣΑΣ") == folded("σας"))
    }

    @Test("each word must occur, in any of the texts and in any case; none reaches from one text into the next")
    func occur() throws {
        var memory: [UInt8] = []
        let texts = ["Node Exporter", "127.0.0.1:9100", "failing", "Größe"]
        for (search, expected) in [
            ("", true), ("node", true), ("NODE 9100", true), ("GRÖSSE", false), ("GRÖ", true), ("node nothing", false),
            ("exporter127", false),
            ("er 127", true), ("  fail   ", true), ("nodeexporter", false),
        ] {
            let words = try #require(SearchWords(search))
            #expect(words.occur(in: texts, using: &memory) == expected, "\(search)")
        }
    }

    @Test("the text and the number of its words are bounded")
    func bounds() {
        #expect(SearchWords(String(repeating: "x", count: SearchWords.maxBytes)) != nil)
        #expect(SearchWords(String(repeating: "x", count: SearchWords.maxBytes + 1)) == nil)
        #expect(SearchWords(Array(repeating: "k", count: SearchWords.maxWords).joined(separator: " ")) != nil)
        #expect(SearchWords(Array(repeating: "k", count: SearchWords.maxWords + 1).joined(separator: " ")) == nil)
    }

    @Test("a search through many apps that almost match takes time in proportion to their bytes")
    func linear() throws {
        let side = ScrapeSide()
        try side.push((0..<5000).map { (String(repeating: "a", count: 250) + String($0), "") })
        let word = String(repeating: "a", count: 200) + "b"
        let clock = ContinuousClock()
        var found = 0
        let time = try clock.measure {
            let page = try side.send("GET", "/apps?format=html&q=\(word)")
            found = page.text.contains(">0 of 5000 shown<") ? 0 : -1
        }
        #expect(found == 0)
        #expect(time < .seconds(10))
    }

    @Test("a search that is too long is refused, and says so")
    func refused() throws {
        let side = ScrapeSide()
        let words = Array(repeating: "k", count: 2000).joined(separator: "+")
        let answer = try side.send("GET", "/apps?format=html&q=\(words)")
        #expect(answer.status == 400 && answer.text.contains("q is too long"))
        // Only the page searches.
        #expect(try side.send("GET", "/apps?format=json&q=\(words)").status == 200)
    }
}
