import NIOCore
import NIOEmbedded
import Testing

@testable import TLS

@Suite("EncryptingOutput")
struct EncryptingOutputTests {
    private final class Bottom: ChannelInboundHandler {
        typealias InboundIn = ByteBuffer
    }

    @Test("writability that came back while bytes were encrypted is announced afterwards, once")
    func missedChange() throws {
        let (channel, recorder, output) = (EmbeddedChannel(), Recorder(), EncryptingOutput())
        try channel.pipeline.syncOperations.addHandlers([Bottom(), recorder])
        let context = try channel.pipeline.syncOperations.context(handlerType: Bottom.self)
        output.announceWritability(context)
        #expect(recorder.writabilityChanges == [])

        output.append(ByteBuffer(string: "a"), promise: nil)
        output.flush()
        // The channel was full for a moment. Who has asked it then waits for an announcement.
        let result = try output.run(nil, context) {
            #expect(!output.writabilityChanged())
            return false
        } callsAgain: {
        }
        #expect(result == .unfinished)
        output.announceWritability(context)
        output.announceWritability(context)
        #expect(recorder.writabilityChanges == [true])
    }
}
