import Foundation
import NIOCore
import Testing

@testable import Proxy

@Suite("JSON text")
struct JSONWriterTests {
    static let texts = [
        "", "plain", "\"\\/", "\u{0}\u{1}\u{1F}\n\r\t", "größe 大 😀", "\u{7F}\u{9F}", "a\u{202E}b\u{2028}", "\u{E0001}", "end\\",
    ]

    @Test("what is written is read as it was, by any reader, also where it is made printable", arguments: texts)
    func roundTrip(text: String) throws {
        var json = JSONWriter()
        json.raw("[")
        json.string(text)
        json.raw(", 1, ")
        json.string(nil)
        json.raw(", ")
        json.number(nil)
        json.raw("]")
        let read = try #require(try JSONSerialization.jsonObject(with: Data(json.buffer.readableBytesView)) as? [Any])
        #expect(read[0] as? String == text && read[1] as? Int == 1 && read[2] is NSNull && read[3] is NSNull)

        let printable = JSONWriter.printable(text)
        let isPrintable = printable.unicodeScalars.allSatisfy { $0.isSafeToPrint }
        #expect(isPrintable)
        let again = try JSONSerialization.jsonObject(with: Data(printable.utf8), options: .fragmentsAllowed)
        #expect(again as? String == text)
    }
}
