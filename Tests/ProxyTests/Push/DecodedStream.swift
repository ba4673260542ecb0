import NIOCore
import Testing

@testable import Proxy

/// All that a decoder makes of a stream: the pushes, then how it ended.
struct DecodedStream: Equatable {
    /// Each push's apps in order, as text.
    var pushes: [[String: String]] = []
    /// Why the rest was refused; nil when the stream ended well.
    var rejection: Rejection?

    /// Feeds the bytes in pieces that end at `cuts`, as a connection does, then ends the stream.
    /// - Parameter readBuffers: whether each piece comes alone in a buffer with room to spare, as SwiftNIO reads it.
    init(_ bytes: [UInt8], cutAt cuts: [Int] = [], format: PushFormat, limit: Int = 1 << 20, readBuffers: Bool = true) {
        var decoder = format.makeDecoder(maxMessageSize: ByteCount(limit))
        var start = 0
        do throws(Rejection) {
            for end in cuts + [bytes.count] where end > start || bytes.isEmpty {
                var buffer = ByteBuffer()
                if readBuffers { buffer.reserveCapacity(2048) }
                buffer.writeBytes(bytes[start..<end])
                start = end
                decoder.feed(buffer)
                while let push = try decoder.nextPush() {
                    let texts = push.apps.map { ($0.name.description, String(buffer: $0.exposition.buffer)) }
                    pushes.append(Dictionary(texts) { _, last in last })
                }
                // Buffers grow by doubling.
                #expect(decoder.heldBytes <= 2 * limit + 8 << 10)
            }
            try decoder.finish()
        } catch {
            rejection = error
        }
    }

    init(_ text: String, cutAt cuts: [Int] = [], format: PushFormat = .json, limit: Int = 1 << 20) {
        self.init(Array(text.utf8), cutAt: cuts, format: format, limit: limit)
    }

    /// Expects the same answer of the bytes as a whole, one by one, cut in two anywhere, and cut at random.
    static func expectSameHoweverCut(_ bytes: [UInt8], format: PushFormat, limit: Int = 1 << 20) {
        let whole = DecodedStream(bytes, format: format, limit: limit)
        func expect(_ cuts: [Int]) {
            let cut = DecodedStream(bytes, cutAt: cuts, format: format, limit: limit, readBuffers: cuts.count % 2 == 0)
            #expect(cut == whole, "cut at \(cuts)")
        }
        expect(Array(0..<bytes.count))
        // Long ones are the same for most of their length.
        let ends = bytes.count <= 400 ? Array(0..<bytes.count) : Array(0..<150) + Array(bytes.count - 150..<bytes.count)
        for cut in ends { expect([cut]) }
        var random = ChunkBuilderTests.Random(state: UInt64(bytes.count))
        for _ in 0..<20 {
            let count = Int.random(in: 1...8, using: &random)
            expect((0..<count).map { _ in Int.random(in: 0...bytes.count, using: &random) }.sorted())
        }
    }
}

extension PushDecoder {
    /// The next push, decoded here however large it is.
    mutating func nextPush() throws(Rejection) -> Push? {
        switch try next() {
        case .push(let push): push
        case .undecoded(let message): try message.decode(maxApps: .max)
        case nil: nil
        }
    }
}
