import HTTP
import NIOCore

/// Any stream gives the same requests and the same error, however it is cut; what parses as a head can be answered.
enum RequestFuzzer {
    private struct Answer: Equatable {
        var events: [RequestDecoder.Event] = []
        var error: RequestError?
    }

    private static let maxBody = 1000
    /// A head and one read beside it, and what `ByteBuffer` rounds them up to.
    private static let maxHeld = 64 << 10

    static func run(_ input: UnsafeRawBufferPointer) {
        guard let stream = CutStream(input) else { return }
        let whole = answer(to: stream.whole)
        let cut = answer(to: stream.pieces)
        precondition(whole == cut, "whole: \(whole)\ncut: \(cut)")
        for case .head(let head) in whole.events { _ = try? Request(head, isTLS: false, peer: .unknown) }
    }

    private static func answer(to pieces: [ByteBuffer]) -> Answer {
        var decoder = RequestDecoder(maxBody: maxBody)
        var waiting = PendingBytes()
        var answer = Answer()
        do throws(RequestError) {
            for piece in pieces {
                waiting.append(piece)
                while true {
                    let event = try decoder.next(&waiting.bytes)
                    if event == .incomplete { break }
                    // Pieces of one body are cut as the stream is.
                    if case .body(var piece) = event, case .body(var last)? = answer.events.last {
                        last.writeBuffer(&piece)
                        answer.events[answer.events.count - 1] = .body(last)
                    } else {
                        answer.events.append(event)
                    }
                }
                precondition(pieces.count == 1 || waiting.held <= maxHeld, "\(waiting.held) bytes are held")
            }
        } catch {
            answer.error = error
        }
        return answer
    }
}
