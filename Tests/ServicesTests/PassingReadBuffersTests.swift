import NIOCore
import Testing

@testable import Services

@Suite("PassingReadBuffers")
struct PassingReadBuffersTests {
    /// Reads as a channel does.
    private struct Reads {
        private var pool: NIOPooledRecvBufferAllocator

        init(_ buffers: PassingReadBuffers) {
            pool = NIOPooledRecvBufferAllocator(capacity: Int(PassingReadBuffers.readsAtOnce), recvAllocator: buffers)
        }

        /// - Parameter available: the bytes in the socket; at most the buffer is filled.
        /// - Returns: the bytes for which the buffer had room.
        mutating func read(_ available: Int) -> Int {
            let (_, (room, count)) = pool.buffer(allocator: ByteBufferAllocator()) { buffer in
                let room = buffer.writableBytes
                return (room, buffer.writeRepeatingByte(0x41, count: min(available, room)))
            }
            pool.record(actualReadBytes: count)
            return room
        }

        /// Bytes of the buffer that the channel keeps while nothing comes. One read in a row leaves room for one only.
        mutating func kept() -> Int {
            pool.recvAllocator = Kept()
            return pool.buffer(allocator: ByteBufferAllocator()) { $0.storageCapacity }.1
        }
    }

    /// Asks for the buffer that is kept, whatever its size.
    private struct Kept: RecvByteBufferAllocator {
        func buffer(allocator: ByteBufferAllocator) -> ByteBuffer { ByteBuffer() }
        func nextBufferSize() -> Int? { 1 }
        mutating func record(actualReadBytes: Int) -> Bool { false }
    }

    @Test("after a push of any size the connection of a receiver keeps only its first buffer, of 4 KiB")
    func keptByReceivers() {
        for available in [4, 20_000, 32 << 10, 1 << 20] {
            var reads = Reads(.ofPushes)
            for _ in 0..<8 { _ = reads.read(available) }
            let kept = reads.kept()
            #expect(kept == 4 << 10, "after reads of \(available) bytes")
        }
    }

    @Test("the connection of a target keeps 512 bytes between polls")
    func keptByPolls() {
        var reads = Reads(.ofPolls)
        for _ in 0..<8 { _ = reads.read(1 << 20) }
        let kept = reads.kept()
        #expect(kept == 512)
    }

    @Test("a receiver reads an ordinary push at once, and gives a large buffer only to a sender that has filled an ordinary one")
    func sizes() {
        var reads = Reads(.ofPushes)
        let (ordinary, large) = (32 << 10, 256 << 10)
        let rooms = [100, 20_000, ordinary - 1, ordinary, 20_000, 1 << 20, 1 << 20, 10, 10].map { reads.read($0) }
        #expect(rooms == [4 << 10, ordinary, ordinary, ordinary, large, ordinary, large, large, ordinary])
    }
}
