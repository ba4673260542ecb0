import HTTP
import NIOCore
import Proxy

/// Any stream gives the same answer, however it is cut, and what waits to be parsed stays small.
enum ResponseFuzzer {
    private struct Answer: Equatable {
        var text = ""
        var isReusable = false
    }

    static func run(_ input: UnsafeRawBufferPointer) {
        guard let stream = CutStream(input) else { return }
        let whole = answer(to: stream.whole)
        let cut = answer(to: stream.pieces)
        // Whether something follows may be seen only when it has come.
        precondition(whole.text == cut.text, "whole: \(whole)\ncut: \(cut)")
        precondition(!whole.isReusable || cut.isReusable, "whole: \(whole)\ncut: \(cut)")
    }

    private static func answer(to pieces: [ByteBuffer]) -> Answer {
        let budget = ByteBudget()
        defer { precondition(budget.used == 0) }
        var connection = ClientConnection(awaitsOpening: false)
        var answer = PolledAnswer(limit: ByteCount(1000), followsRedirects: true, budget: budget)
        _ = connection.send(ByteBuffer(), keepsConnection: true)
        for piece in pieces {
            connection.receive(piece)
            reading: while true {
                switch connection.next() {
                case .wait:
                    precondition(connection.held <= 2 * (ResponseDecoder.maxHead + piece.readableBytes), "\(connection.held)")
                    break reading
                case .head(let head):
                    switch answer.takeHead(head) {
                    case .collectBody: break
                    case .discardBody: connection.discardBody()
                    case .stop: return end(answer.complete(), connection)
                    }
                case .body(let piece): if !answer.takeBody(piece) { return end(answer.complete(), connection) }
                case .complete: return end(answer.complete(), connection)
                case .failed(let error): return Answer(text: "failure \(PollFailure(error))")
                }
            }
        }
        guard let error = connection.ended(isClean: true) else { return end(answer.complete(), connection) }
        return end(answer.brokenOff(by: PollFailure(error), isFramed: error == .endedWithinBody(isFramed: true)), connection)
    }

    private static func end(_ result: PolledAnswer.Result, _ connection: ClientConnection) -> Answer {
        let isReusable = connection.phase == .idle
        switch result {
        case .redirect(let location): return Answer(text: "redirect \(location)", isReusable: isReusable)
        case .failure(let failure): return Answer(text: "failure \(failure)", isReusable: isReusable)
        case .body(let body):
            do throws(PollFailure) {
                let exposition = try body.exposition(refusingOtherFormats: true)
                return Answer(text: "metrics " + String(buffer: exposition.buffer), isReusable: isReusable)
            } catch {
                return Answer(text: "failure \(error)", isReusable: isReusable)
            }
        }
    }
}
