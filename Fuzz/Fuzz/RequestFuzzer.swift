import HTTP
import NIOCore
import Proxy

@testable import Services

/// Any stream gives the same requests and the same error, however it is cut; what parses as a head can be answered.
enum RequestFuzzer {
    private struct Answer: Equatable {
        var steps: [RequestParser.Step] = []
        var error: RequestError?
    }

    static func run(_ input: UnsafeRawBufferPointer) {
        guard let stream = CutStream(input) else { return }
        let whole = answer(to: stream.whole)
        let cut = answer(to: stream.pieces)
        precondition(whole == cut, "whole: \(whole)\ncut: \(cut)")
        for case .head(let head) in whole.steps {
            _ = try? Request.parse(
                method: head.method, target: head.target, isTLS: false, requiresHost: !head.isHTTP10, header: head.header)
        }
    }

    private static func answer(to pieces: [ByteBuffer]) -> Answer {
        var parser = RequestParser()
        var waiting = ByteBuffer()
        var answer = Answer()
        do throws(RequestError) {
            for piece in pieces {
                waiting.writeImmutableBuffer(piece)
                while true {
                    let step = try parser.next(&waiting)
                    if step == .incomplete { break }
                    answer.steps.append(step)
                }
                precondition(waiting.readableBytes <= RequestParser.maxHead, "\(waiting.readableBytes) bytes wait")
            }
        } catch {
            answer.error = error
        }
        return answer
    }
}
