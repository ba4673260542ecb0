import NIOCore
import Proxy

@testable import Services

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
        var reader = ResponseReader(limit: ByteCount(1000), followsRedirects: true)
        for piece in pieces {
            if let end = reader.take(piece) { return answer(end) }
        }
        return reader.end(by: nil).map(answer) ?? Answer()
    }

    private static func answer(_ end: ResponseReader.End) -> Answer {
        let text =
            switch end.answer {
            case .metrics(let exposition): "metrics " + String(buffer: exposition.buffer)
            case .redirect(let location): "redirect \(location)"
            case .failure(let failure): "failure \(failure)"
            }
        return Answer(text: text, isReusable: end.isReusable)
    }
}
