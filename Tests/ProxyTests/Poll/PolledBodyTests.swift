import NIOCore
import Testing

@testable import Proxy

@Suite("PolledBody")
struct PolledBodyTests {
    private func gzip(_ text: String) -> ByteBuffer { gzip(ByteBuffer(string: text)) }

    private func gzip(_ buffer: ByteBuffer) -> ByteBuffer {
        var member = GzipMember()
        member.append(Deflater().segment(of: buffer))
        return member.finished().pieces.reduce(into: ByteBuffer()) { $0.writeImmutableBuffer($1) }
    }

    private func collect(
        _ coding: BodyBytes.Coding, _ pieces: [ByteBuffer], expected: Int? = nil, limit: Int = 1 << 20, budget: ByteBudget = ByteBudget()
    ) throws(PollFailure) -> PolledBody {
        var body = try PolledBody(coding: coding, expected: expected, limit: ByteCount(limit), budget: budget)
        for piece in pieces { try body.append(piece) }
        return body
    }

    private func read(
        _ coding: BodyBytes.Coding, _ pieces: [ByteBuffer], expected: Int? = nil, limit: Int = 1 << 20, budget: ByteBudget = ByteBudget()
    ) -> Result<String, PollFailure> {
        do throws(PollFailure) {
            let body = try collect(coding, pieces, expected: expected, limit: limit, budget: budget)
            return .success(String(buffer: try body.exposition(refusingOtherFormats: true).buffer))
        } catch {
            return .failure(error)
        }
    }

    private func read(_ zipped: [ByteBuffer], limit: Int = 1 << 20, budget: ByteBudget = ByteBudget()) -> Result<String, PollFailure> {
        read(.gzip, zipped, limit: limit, budget: budget)
    }

    private func bytes(_ buffer: ByteBuffer) -> [ByteBuffer] { buffer.readableBytesView.map { ByteBuffer(bytes: [$0]) } }

    private func metrics(lines: Int) -> String {
        (0..<lines).reduce(into: "") { $0 += "metric_with_a_long_name{label=\"\($1)\"} \($1)\n" }
    }

    // MARK: Plain

    @Test("a plain body, whole or in pieces, with its length or without", arguments: [nil, 7])
    func plain(expected: Int?) {
        let text = ByteBuffer(string: "a 1\nb 2")
        #expect(read(.identity, [text], expected: expected) == .success("a 1\nb 2\n"))
        #expect(read(.identity, bytes(text), expected: expected) == .success("a 1\nb 2\n"))
        #expect(read(.identity, []) == .success(""))
    }

    @Test("a body of several blocks is joined", arguments: [true, false])
    func blocks(isLengthKnown: Bool) {
        let text = metrics(lines: 90_000)
        #expect(text.utf8.count > 3 << 20)
        var rest = ByteBuffer(string: text)
        var pieces: [ByteBuffer] = []
        while let piece = rest.readSlice(length: min(32_749, rest.readableBytes)), piece.readableBytes > 0 { pieces.append(piece) }
        let result = read(.identity, pieces, expected: isLengthKnown ? text.utf8.count : nil, limit: 64 << 20)
        #expect(result == .success(text))
    }

    @Test("the limit: at it a body passes, one past it does not, by its length or by what comes")
    func plainLimit() {
        let failure = Result<String, PollFailure>.failure(.bodyTooLarge(limit: ByteCount(10)))
        #expect(read(.identity, [ByteBuffer(string: "123456789\n")], limit: 10) == .success("123456789\n"))
        #expect(read(.identity, [ByteBuffer(string: "1234567890\n")], limit: 10) == failure)
        #expect(read(.identity, [], expected: 11, limit: 10) == failure)
        #expect(read(.identity, [ByteBuffer(string: "123456789\n")], expected: 10, limit: 10) == .success("123456789\n"))
    }

    // MARK: Zipped

    @Test("a zipped body is unzipped, whole or byte by byte, and gets its final newline")
    func zipped() {
        #expect(read([gzip("a 1\nb 2")]) == .success("a 1\nb 2\n"))
        #expect(read(bytes(gzip("a 1\nb 2\n"))) == .success("a 1\nb 2\n"))
        #expect(read([gzip("")]) == .success(""))
        // Several members are one body (RFC 1952 §2.2).
        #expect(read([gzip("a 1\n"), gzip("b 2\n")]) == .success("a 1\nb 2\n"))
        let text = metrics(lines: 70_000)
        #expect(read([gzip(text)], limit: 64 << 20) == .success(text))
        #expect(read([gzip(text), gzip("b 2\n")], limit: 64 << 20) == .success(text + "b 2\n"))
    }

    @Test("the limit counts uncompressed: at it a body passes, one past it does not")
    func zippedLimit() {
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
        #expect(read([gzip(ByteBuffer(bytes: [0x61, 0xFF]))]) == .failure(.invalidUTF8))
    }

    // MARK: What an event loop does

    @Test("a large body is left to a thread pool, whatever it claims to be")
    func small() throws {
        let limit = BodyBytes.smallSize
        // Both are labelled where they are decoded.
        #expect(limit == UndecodedPush.inlineLimit)
        func isSmall(_ body: PolledBody) throws -> Bool { try body.smallExposition(refusingOtherFormats: true) != nil }
        let text = String(repeating: "x", count: limit)
        #expect(try isSmall(collect(.identity, [ByteBuffer(string: text)])))
        #expect(try !isSmall(collect(.identity, [ByteBuffer(string: text + "x")])))
        #expect(try isSmall(collect(.gzip, [gzip(text)])))
        #expect(try !isSmall(collect(.gzip, [gzip(text + "x")])))
        // The size in the last bytes is that of the last member alone.
        #expect(try !isSmall(collect(.gzip, [gzip(text + text), gzip("x")])))
        var forged = gzip(String(repeating: "x", count: 8 << 20))
        forged.setInteger(UInt32(100), at: forged.writerIndex - 4, endianness: .little)
        #expect(try !isSmall(collect(.gzip, [forged], limit: 64 << 20)))
    }

    // MARK: What is held

    @Test("what is held follows what came, not what was promised")
    func held() throws {
        let budget = ByteBudget()
        var body: PolledBody? = try collect(.identity, [ByteBuffer(string: "a")], expected: 32 << 20, limit: 64 << 20, budget: budget)
        #expect((1...1 << 20).contains(budget.used))
        body = try collect(.identity, bytes(ByteBuffer(string: metrics(lines: 100))), limit: 64 << 20, budget: budget)
        #expect(budget.used >= (body?.received ?? .max) && budget.used <= 64 << 10)
        body = nil
        #expect(budget.used == 0)
    }

    @Test("each block of a large body is held, not only the first", arguments: [nil, 5 << 19])
    func heldBlocks(expected: Int?) throws {
        let budget = ByteBudget()
        let pieces = Array(repeating: ByteBuffer(repeating: UInt8(ascii: "x"), count: 1 << 15), count: 80)
        let body = try collect(.identity, pieces, expected: expected, limit: 64 << 20, budget: budget)
        #expect(body.received == 5 << 19)
        #expect((body.received...body.received + 1 << 20).contains(budget.used), "\(budget.used)")
    }

    @Test("a buffer that is too small for the uncompressed body is released when a larger one has its bytes")
    func growing() throws {
        let budget = ByteBudget()
        // The size in the last bytes is that of the last member alone, so the buffer begins small.
        let zipped = gzip(String(repeating: "x", count: 1 << 20))
        let body = try collect(.gzip, [zipped, gzip("x")], limit: 64 << 20, budget: budget)
        let metrics = try body.exposition(refusingOtherFormats: true)
        #expect(metrics.size == (1 << 20) + 2)
        #expect((1 << 20..<3 << 19).contains(budget.used), "\(budget.used)")
        withExtendedLifetime(body) {}
    }

    @Test("bodies beyond the budget fail, and give back what they held")
    func budget() throws {
        let failure = Result<String, PollFailure>.failure(.tooMuchInFlight(limit: .mebibytes(1)))
        let budget = ByteBudget(limit: .mebibytes(1))
        let text = ByteBuffer(string: metrics(lines: 1000))
        let other = try collect(.identity, [ByteBuffer(string: metrics(lines: 18_000))], limit: 64 << 20, budget: budget)
        let used = budget.used
        #expect(read(.identity, [text, text, text, text, text, text, text, text], limit: 64 << 20, budget: budget) == failure)
        // Uncompressed, it needs more than there is.
        #expect(read([gzip(metrics(lines: 18_000))], limit: 64 << 20, budget: budget) == failure)
        #expect(budget.used == used)
        // A small body is taken all the same; of a larger one the first bytes.
        budget.add(budget.limit.bytes - used)
        let (small, larger) = (metrics(lines: 100), metrics(lines: 500))
        #expect(read(.identity, [ByteBuffer(string: small)], budget: budget) == .success(small))
        #expect(read(.identity, bytes(ByteBuffer(string: small)), expected: small.utf8.count, budget: budget) == .success(small))
        #expect(read(.identity, [ByteBuffer(string: larger)], budget: budget) == failure)
        withExtendedLifetime(other) {}
    }

    @Test("a body that is as large as the budget is taken, in whatever pieces it comes", arguments: [100 << 10, 4 << 20], [true, false])
    func wholeBudget(size: Int, isLengthKnown: Bool) {
        let text = String(repeating: "x", count: size - 1) + "\n"
        for length in [1000, 30_011, 1 << 16] {
            var rest = ByteBuffer(string: text)
            var pieces: [ByteBuffer] = []
            while let piece = rest.readSlice(length: min(length, rest.readableBytes)), piece.readableBytes > 0 { pieces.append(piece) }
            let budget = ByteBudget(limit: ByteCount(size))
            #expect(read(.identity, pieces, expected: isLengthKnown ? size : nil, limit: 64 << 20, budget: budget) == .success(text))
            let small = ByteBudget(limit: ByteCount(size - 20_000))
            let failure = Result<String, PollFailure>.failure(.tooMuchInFlight(limit: small.limit))
            #expect(read(.identity, pieces, expected: isLengthKnown ? size : nil, limit: 64 << 20, budget: small) == failure)
        }
    }

    @Test("forty bodies that unzip to more than the limit, at once, hold no more than the budget")
    func bombs() async throws {
        let budget = ByteBudget(limit: .mebibytes(16))
        let bomb = gzip(String(repeating: "0", count: 8 << 20))
        let results = await withTaskGroup(of: Result<String, PollFailure>.self) { group in
            for _ in 0..<40 {
                group.addTask { read([bomb], limit: 4 << 20, budget: budget) }
            }
            return await group.reduce(into: []) { $0.append($1) }
        }
        for result in results {
            #expect(
                result == .failure(.bodyTooLarge(limit: .mebibytes(4))) || result == .failure(.tooMuchInFlight(limit: .mebibytes(16))))
        }
        #expect(budget.used == 0)
    }

    // MARK: Other formats

    @Test(
        "what is plainly HTML or JSON says so",
        arguments: [
            ("<!DOCTYPE html><html></html>", .html), ("\n <html>", .html), ("\u{FEFF}<?xml version=\"1.0\"?>", .html),
            ("<pre>a 1</pre>", .html), ("{\"status\":\"ok\"}", .json), ("{ \"a \\\" b\" : 1 }", .json), ("{}", .json), ("{ }", .json),
            ("[]", .json), ("  [ 1, 2 ]\n", .json),
        ] as [(String, OtherFormat)])
    func otherFormats(text: String, format: OtherFormat) {
        #expect(read(.identity, [ByteBuffer(string: text)]) == .failure(.otherFormat(format)))
        #expect(PollFailure.otherFormat(format).description.contains("looks like \(format.rawValue)"))
        #expect(PollFailure.otherFormat(format).description.contains("/metrics"))
        #expect(throws: Never.self) { try Exposition(polledBody: ByteBuffer(string: text), refusingOtherFormats: false) }
    }

    @Test(
        "what could be metrics is none of them",
        arguments: [
            "a 1\n", "# HELP a <html>\na 1\n", "", "\n", "{\"a\"} 1\n", "{\"a.b\",c=\"d\"} 1\n", "{\"a:b\", c=\":\"} 1\n", "{a=\"b\"} 1\n",
            "a{b=\"<html>\"} 1\n", "\u{FEFF}a 1\n", "{",
        ])
    func metrics(text: String) {
        #expect(throws: Never.self) { try Exposition(polledBody: ByteBuffer(string: text), refusingOtherFormats: true) }
    }
}
