import NIOCore
import Proxy
import TestSupport

/// Any body gives the same bytes and the same error, however it is cut, and never more than the limit.
enum GunzipFuzzer {
    private static let limit = 2000

    private struct Answer: Equatable {
        var output: ByteBuffer
        var error: GunzipError?
    }

    static func run(_ input: UnsafeRawBufferPointer) {
        guard let stream = CutStream(input) else { return }
        let whole = answer(to: stream.whole)
        let cut = answer(to: stream.pieces)
        precondition(whole.error == cut.error, "whole: \(whole)\ncut: \(cut)")
        // After an error nothing is used.
        precondition(whole.error != nil || whole == cut)
        // What we compress comes back as it was.
        let compressed = answer(to: [Gzip.compress(stream.whole[0])])
        precondition(stream.bytes.count > limit || compressed == Answer(output: stream.whole[0]))
    }

    private static func answer(to pieces: [ByteBuffer]) -> Answer {
        let gunzip = Gunzip(limit: limit)
        var answer = Answer(output: ByteBuffer())
        do throws(GunzipError) {
            for piece in pieces {
                try gunzip.inflate(piece, into: &answer.output)
                precondition(answer.output.readableBytes <= limit)
            }
            try gunzip.finish()
        } catch {
            answer.error = error
            precondition(answer.output.readableBytes <= limit)
        }
        return answer
    }
}
