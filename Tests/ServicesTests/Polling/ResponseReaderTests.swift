import NIOCore
import Proxy
import Testing

@testable import Services

@Suite("ResponseReader")
struct ResponseReaderTests {
    /// What a reader keeps while it reads streams whose pieces never end where something in them ends.
    private func largestCapacity(_ head: String, repeating piece: String, times: Int) -> Int {
        var reader = ResponseReader(limit: .mebibytes(64), followsRedirects: true)
        var largest = 0
        // The first byte of each piece comes with the one before, as from a peer that wants the buffer never to be empty.
        var text = head + String(piece.prefix(1))
        for _ in 0..<times {
            #expect(reader.take(ByteBuffer(string: text)) == nil)
            text = String(piece.dropFirst()) + String(piece.prefix(1))
            largest = max(largest, reader.waitingCapacity)
        }
        return largest
    }

    @Test("what was parsed is not kept, although the peer never lets the buffer become empty")
    func consumedBytesAreDropped() {
        let extensions = String(repeating: "x", count: 240)
        let chunk = "1;\(extensions)\r\na\r\n"
        let chunks = String(repeating: chunk, count: 128)
        let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        #expect(largestCapacity(chunked, repeating: chunks, times: 100) <= 2 * chunks.utf8.count)
        // Chunks of one byte, cut within their data.
        #expect(largestCapacity(chunked, repeating: chunk, times: 10_000) <= 4096)
        // Informational heads are the only other thing that may come again and again.
        let early = "HTTP/1.1 103 Early Hints\r\nLink: <\(extensions)>\r\n\r\n"
        #expect(largestCapacity("", repeating: early, times: ResponseReader.maxInformational - 1) <= 4096)
    }

    @Test("a head that comes byte by byte is kept once, and ends at its limit")
    func headByteByByte() {
        var reader = ResponseReader(limit: .mebibytes(64), followsRedirects: true)
        #expect(reader.take(ByteBuffer(string: "HTTP/1.1 200 OK\r\nX: ")) == nil)
        var end: ResponseReader.End?
        var sent = 0
        while end == nil, sent < 100_000 {
            end = reader.take(ByteBuffer(bytes: [UInt8(ascii: "x")]))
            sent += 1
        }
        #expect(sent < ResponseParser.maxHead.bytes)
        #expect(reader.waitingCapacity <= 2 * ResponseParser.maxHead.bytes)
        guard case .failure(.headTooLarge)? = end?.answer else {
            Issue.record("not refused")
            return
        }
    }
}
