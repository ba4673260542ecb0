import NIOCore
import Testing

@testable import Proxy

@Suite("A polled body")
struct ExpositionPollTests {
    private func body(_ text: String) throws -> String {
        String(buffer: try Exposition(polledBody: ByteBuffer(string: text)).buffer)
    }

    @Test(
        "ends in a newline, without # EOF",
        arguments: [
            ("", ""), ("\n", "\n"), ("a 1", "a 1\n"), ("a 1\n", "a 1\n"), ("a 1\n\n", "a 1\n\n"), ("a 1\n# EOF\n", "a 1\n"),
            ("a 1\n# EOF", "a 1\n"),
            ("# EOF\n", ""), ("# EOF", ""), ("a 1 # EOF\n", "a 1 # EOF\n"), ("# EOF\na 1\n", "# EOF\na 1\n"),
            ("a 1\n# EOF\n\n", "a 1\n# EOF\n\n"),
            ("a 1\r\n", "a 1\r\n"), ("é 1", "é 1\n"), ("# EO", "# EO\n"),
        ])
    func ends(given: String, expected: String) throws {
        #expect(try body(given) == expected)
    }

    @Test("NUL is refused wherever it stands", arguments: ["\0", "a 1\n\0", "a\0b 1\n", String(repeating: "x", count: 100) + "\0"])
    func nul(text: String) {
        #expect(throws: PollFailure.nulByte) { try body(text) }
    }

    @Test(
        "what is not UTF-8 is refused, wherever it stands",
        arguments: [
            [0x80], [0xC0, 0x80], [0xC1, 0xBF], [0xC2], [0xE0, 0x9F, 0x80], [0xE2, 0x82], [0xED, 0xA0, 0x80], [0xF0, 0x8F, 0x80, 0x80],
            [0xF4, 0x90, 0x80, 0x80], [0xF5, 0x80, 0x80, 0x80], [0xFF], [0xE2, 0x28, 0xA1], [0xF0, 0x9F, 0x98],
        ] as [[UInt8]])
    func invalid(bytes: [UInt8]) {
        for length in 0...17 {
            let before = [UInt8](repeating: UInt8(ascii: "a"), count: length)
            #expect(throws: PollFailure.invalidUTF8) { try Exposition(polledBody: ByteBuffer(bytes: before + bytes)) }
            #expect(throws: PollFailure.invalidUTF8) { try Exposition(polledBody: ByteBuffer(bytes: before + bytes + before)) }
        }
    }

    @Test("every scalar's encoding is UTF-8")
    func valid() {
        for value in stride(from: UInt32(1), through: 0x10FFFF, by: 37) {
            guard let scalar = Unicode.Scalar(value) else { continue }
            let bytes = Array(String(Character(scalar)).utf8)
            let isUTF8 = bytes.withUnsafeBytes { $0.isUTF8 }
            #expect(isUTF8)
        }
    }
}
