import NIOCore
import Testing

@testable import Proxy

@Suite("MessageBuffer")
struct MessageBufferTests {
    @Test("a message that came in one piece is taken without a copy, what follows it stays readable")
    func noCopy() {
        var buffer = MessageBuffer()
        let input = ByteBuffer(string: "onetwo")
        buffer.feed(input)
        let message = buffer.takeMessage(endingAt: 3)
        #expect(String(buffer: message) == "one")
        let same = input.withUnsafeReadableBytes { a in message.withUnsafeReadableBytes { a.baseAddress == $0.baseAddress } }
        #expect(same)
        #expect(message.writableBytes >= 3)
        #expect(buffer.count == 3)
        #expect(String(buffer: buffer.takeMessage(endingAt: 3)) == "two")
        #expect(buffer.count == 0)
    }

    @Test("a message in pieces is joined")
    func pieces() {
        var buffer = MessageBuffer()
        for piece in ["o", "n", "et"] {
            buffer.feed(ByteBuffer(string: piece))
            if piece != "et" { buffer.keep(1) }
        }
        #expect(buffer.count == 4)
        #expect(String(buffer: buffer.takeMessage(endingAt: 1)) == "one")
        #expect(buffer.count == 1)
        buffer.skip(1)
        #expect(buffer.count == 0)
    }

    @Test("what is kept does not hold a large read buffer")
    func memory() {
        var read = ByteBuffer()
        read.reserveCapacity(1 << 18)
        read.writeString("beginning")
        var buffer = MessageBuffer()
        buffer.feed(read)
        buffer.keep(9)
        #expect(buffer.beginning.storageCapacity < 1 << 10)
        #expect(buffer.input.storageCapacity == 0)
    }

    @Test("input that is not looked at yet grows by what follows")
    func feedTwice() {
        var buffer = MessageBuffer()
        buffer.feed(ByteBuffer(string: "a"))
        buffer.feed(ByteBuffer(string: "b"))
        #expect(String(buffer: buffer.takeMessage(endingAt: 2)) == "ab")
    }
}
