import NIOCore
import Testing

@testable import Proxy

@Suite("Exposition")
struct ExpositionTests {
    private func made(_ text: String) -> Exposition { Array(text.utf8).withUnsafeBytes { Exposition(copying: $0) } }

    @Test(
        "metrics end in a newline, added only where it is missing",
        arguments: [
            ("", ""), ("\n", "\n"), ("a 1", "a 1\n"), ("a 1\n", "a 1\n"), ("a 1\n\n", "a 1\n\n"), ("a 1\r", "a 1\r\n"), (" ", " \n"),
        ])
    func newline(text: String, expected: String) {
        for exposition in [made(text), Exposition(addingNewlineTo: ByteBuffer(string: text))] {
            #expect(String(buffer: exposition.buffer) == expected)
            #expect(exposition.size == expected.utf8.count)
        }
    }

    @Test("a buffer that is whole and not much too large is kept, not copied")
    func kept() {
        let buffer = ByteBuffer(string: String(repeating: "a 1\n", count: 1000))
        let kept = Exposition(addingNewlineTo: buffer).buffer
        let same = buffer.withUnsafeReadableBytes { a in kept.withUnsafeReadableBytes { a.baseAddress == $0.baseAddress } }
        #expect(same)

        var wasteful = ByteBuffer()
        wasteful.reserveCapacity(1 << 20)
        wasteful.writeString("a 1\n")
        #expect(Exposition(addingNewlineTo: wasteful).buffer.storageCapacity < 1 << 10)
    }

    @Test("the segment is made once, and again known after a move")
    func segment() throws {
        let exposition = made("a 1\nb 2")
        #expect(exposition.needsCompression)
        #expect(exposition.segment.uncompressedSize == 8)
        #expect(!exposition.needsCompression)
        #expect(!Exposition(exposition, movedTo: ByteBuffer(string: "a 1\nb 2\n")).needsCompression)
        #expect(!Exposition.empty.needsCompression)
        #expect(Exposition.empty.segment.bytes.readableBytes == 0)
    }
}
