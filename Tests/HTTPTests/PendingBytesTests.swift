import HTTP
import NIOCore
import Testing

@Suite("PendingBytes")
struct PendingBytesTests {
    @Test("the whole storage counts until the last byte is consumed")
    func held() {
        var pending = PendingBytes()
        #expect(pending.held == 0)
        var bytes = ByteBufferAllocator().buffer(capacity: 4096)
        bytes.writeString("ab")
        pending.append(bytes)
        #expect(pending.held == 4096)
        pending.bytes.moveReaderIndex(forwardBy: 1)
        #expect(pending.held == 4096)
        pending.bytes.moveReaderIndex(forwardBy: 1)
        #expect(pending.held == 0)
    }
}
