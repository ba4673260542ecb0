import NIOCore
import TestSupport
import Testing

@testable import Proxy

/// What other implementations make of our gzip: gzip itself, and Python's zlib, which tells where the member ends.
@Suite("gzip")
struct GzipTests {
    private let side = ScrapeSide()

    /// The text that both read; an answer must be one member and nothing after it.
    private func read(_ bytes: [UInt8]) async throws -> [UInt8] {
        let gzip = try await run("gzip", ["-dc"], input: bytes)
        #expect(gzip.succeeded && gzip.errors == "", "\(gzip.errors)")
        let script = """
            import sys, zlib
            data = sys.stdin.buffer.read()
            member = zlib.decompressobj(31)
            text = member.decompress(data)
            assert member.eof and member.unused_data == b"" and member.unconsumed_tail == b""
            assert int.from_bytes(data[-8:-4], "little") == zlib.crc32(text)
            assert int.from_bytes(data[-4:], "little") == len(text) % 2**32
            sys.stdout.buffer.write(text)
            """
        let python = try await run("python3", ["-c", script], input: bytes)
        #expect(python.succeeded, "\(python.errors)")
        #expect(python.outputBytes == gzip.outputBytes)
        return gzip.outputBytes
    }

    private func joined(_ member: GzipMember) -> [UInt8] {
        let (pieces, size) = member.finished()
        let bytes = pieces.flatMap { Array($0.readableBytesView) }
        #expect(bytes.count == size)
        return bytes
    }

    @Test("segments put together are one member, whatever is in them and however many there are")
    func segments() async throws {
        var seed = SystemRandomNumberGenerator()
        let noise = (0..<200_000).map { _ in UInt8.random(in: 0...255, using: &seed) }
        let texts: [[UInt8]] = [
            Array("a 1\n".utf8), [], noise, Array(String(repeating: "metric{label=\"value\"} 1\n", count: 40_000).utf8), [0x0A],
            Array(noise.prefix(65_536)), [],
        ]
        let segments = texts.map { DeflateSegment(compressing: ByteBuffer(bytes: $0)) }
        for count in 0...texts.count {
            #expect(try await read(joined(GzipMember(segments.prefix(count)))) == Array(texts.prefix(count).joined()))
        }
        // The same segment at several places, and in another order.
        let order = [3, 0, 0, 2, 4, 3]
        #expect(try await read(joined(GzipMember(order.map { segments[$0] }))) == order.flatMap { texts[$0] })
        let many = try await read(joined(GzipMember(repeatElement(segments[0], count: 3000))))
        #expect(many == Array(String(repeating: "a 1\n", count: 3000).utf8))
    }

    @Test("what is stored because there is no memory to compress it is read too", arguments: [1, 65_535, 65_536, 200_000])
    func stored(size: Int) async throws {
        let text = (0..<size).map { UInt8(truncatingIfNeeded: $0 &* 31) }
        let bytes = text.withUnsafeBufferPointer { Deflater.stored($0) }
        let compressed = DeflateSegment(compressing: ByteBuffer(bytes: text))
        let segment = DeflateSegment(bytes: bytes, uncompressedSize: size, crc: compressed.crc)
        #expect(try await read(joined(GzipMember([segment, compressed]))) == text + text)
    }

    @Test("/metrics is one member, without apps, with many, by ?app= and with the self-metrics; HEAD tells its length")
    func metrics() async throws {
        func expectSame(_ target: String) async throws {
            let plain = try side.send("GET", target)
            let received = try side.send("GET", target, headers: ["accept-encoding": "gzip"])
            #expect(received[header: "Content-Encoding"] == "gzip")
            #expect(received.contentLength == received.bytes.count)
            #expect(try await read(received.bytes) == plain.bytes, "\(target)")
            let head = try side.send("HEAD", target, headers: ["accept-encoding": "gzip"])
            #expect(head.bytes.isEmpty && head.contentLength == received.contentLength && head[header: "Content-Encoding"] == "gzip")
        }
        try await expectSame("/metrics")
        try side.push((0..<500).map { ("app\($0)", String(repeating: "a{n=\"\($0)\"} \($0)\n", count: 1 + $0 * 7 % 200)) })
        try side.push([("empty", ""), ("large", String(repeating: "large 1\n", count: 100_000))])
        try await expectSame("/metrics")
        try side.push([("app250", "changed 1\n")])
        try await expectSame("/metrics")
        for query in ["app=app7", "app=empty", "app=large", "app=app1&app=nobody&app=large"] { try await expectSame("/metrics?\(query)") }
        side.metrics.isExposed = true
        try await expectSame("/metrics")
    }
}
