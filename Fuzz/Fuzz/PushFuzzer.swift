import NIOCore
import Proxy

/// Any stream gives the same pushes and the same refusal, however it is cut, and never more than the limit is held.
enum PushFuzzer {
    private static let limit = 600

    private struct Answer: Equatable {
        var apps: [[String: String]] = []
        var rejection: Rejection?
    }

    static func run(_ input: UnsafeRawBufferPointer, format: PushFormat) {
        guard let stream = CutStream(input) else { return }
        let whole = answer(to: stream.whole, format)
        let cut = answer(to: stream.pieces, format)
        precondition(whole == cut, "whole: \(whole)\ncut: \(cut)")
        for text in whole.apps.flatMap(\.values) { precondition(text.isEmpty || text.hasSuffix("\n") && !text.utf8.contains(0)) }
    }

    private static func answer(to pieces: [ByteBuffer], _ format: PushFormat) -> Answer {
        var decoder = format.makeDecoder(maxMessageSize: ByteCount(limit))
        var answer = Answer()
        do throws(Rejection) {
            for piece in pieces {
                decoder.feed(piece)
                while let push = try decoder.next() {
                    let apps = push.apps.map { ($0.name.description, String(buffer: $0.exposition.buffer)) }
                    answer.apps.append(Dictionary(apps) { _, last in last })
                }
                precondition(decoder.bufferedBytes <= limit, "\(decoder.bufferedBytes) bytes are held")
            }
            try decoder.finish()
        } catch {
            answer.rejection = error
            precondition(!error.line.contains { $0.isNewline })
        }
        return answer
    }
}
