import NIOCore
import Proxy
import TestSupport
import Testing

@testable import Services

@Suite("BodyReader")
struct BodyReaderTests {
    private func gzip(_ text: String) -> ByteBuffer { Gzip.compress(ByteBuffer(string: text)) }

    private func read(_ pieces: [ByteBuffer], limit: Int = 1 << 20) -> Result<String, PollFailure> {
        do throws(PollFailure) {
            var reader = try BodyReader(coding: .gzip, expected: nil, limit: ByteCount(limit))
            for piece in pieces { try reader.append(piece) }
            return .success(String(buffer: try reader.finish().buffer))
        } catch {
            return .failure(error)
        }
    }

    private func bytes(_ buffer: ByteBuffer) -> [ByteBuffer] { buffer.readableBytesView.map { ByteBuffer(bytes: [$0]) } }

    @Test("a zipped body is unzipped, whole or byte by byte, and gets its final newline")
    func zipped() {
        #expect(read([gzip("a 1\nb 2")]) == .success("a 1\nb 2\n"))
        #expect(read(bytes(gzip("a 1\nb 2\n"))) == .success("a 1\nb 2\n"))
        #expect(read([gzip("")]) == .success(""))
        // Several members are one body (RFC 1952 §2.2).
        #expect(read([gzip("a 1\n"), gzip("b 2\n")]) == .success("a 1\nb 2\n"))
    }

    @Test("the limit counts uncompressed: at it a body passes, one past it does not")
    func limit() {
        #expect(read([gzip("123456789\n")], limit: 10) == .success("123456789\n"))
        #expect(read([gzip("1234567890\n")], limit: 10) == .failure(.bodyTooLarge(limit: ByteCount(10))))
        #expect(read(bytes(gzip("1234567890\n")), limit: 10) == .failure(.bodyTooLarge(limit: ByteCount(10))))
        // A bomb: 64 MiB in some 64 KiB.
        let bomb = gzip(String(repeating: "0", count: 64 << 20))
        #expect(bomb.readableBytes < 1 << 20)
        #expect(read([bomb]) == .failure(.bodyTooLarge(limit: .mebibytes(1))))
    }

    @Test("a zipped body that never ends and never says anything is refused")
    func emptyBlocks() {
        var endless = ByteBuffer(bytes: [0x1F, 0x8B, 8, 0, 0, 0, 0, 0, 0, 255])
        for _ in 0..<20_000 { endless.writeBytes([0, 0, 0, 0xFF, 0xFF]) }
        #expect(read([endless], limit: 10) == .failure(.bodyTooLarge(limit: ByteCount(10))))
    }

    @Test("what is cut short or corrupt is refused in words")
    func corrupt() {
        var cut = gzip("a 1\n")
        cut.moveWriterIndex(to: cut.writerIndex - 1)
        #expect(read([cut]) == .failure(.truncatedGzip))
        #expect(read([]) == .failure(.truncatedGzip))
        var wrong = gzip("a 1\n")
        wrong.setInteger(UInt32(0), at: wrong.writerIndex - 8)
        for (body, words) in [
            ([wrong], "its check value is wrong"), ([ByteBuffer(string: "a 1\n")], "not gzip"),
            ([gzip("a 1\n"), ByteBuffer(string: "x")], "other bytes follow"),
        ] {
            guard case .failure(.corruptGzip(let reason)) = read(body) else {
                Issue.record("taken: \(words)")
                continue
            }
            #expect(reason.contains(words))
        }
    }

    @Test("what is unzipped must be text like any other body")
    func text() {
        #expect(read([gzip("a \0 1\n")]) == .failure(.nulByte))
        #expect(read([Gzip.compress(ByteBuffer(bytes: [0x61, 0xFF]))]) == .failure(.invalidUTF8))
    }

    @Test("over a connection: a target that zips is polled like any other")
    func overHTTP() async throws {
        let body = gzip("a 1\nb 2\n")
        let head = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Encoding: gzip\r\nContent-Length: \(body.readableBytes)\r\n\r\n"
        let answer = Array(head.utf8) + Array(body.readableBytesView)
        try await HTTPTarget.with(answer: { _ in [.send(answer)] }) { server in
            try await withClient(Target(port: server.port)) { client in
                try await client.expect(text: "a 1\nb 2\n")
                // The connection is kept, and the next body starts afresh.
                try await client.expect(text: "a 1\nb 2\n")
            }
            #expect(server.connections == 1)
        }
    }
}
