import NIOCore
import NIOEmbedded
import TLS

/// Any bytes in place of a handshake end it, in the same way however they are cut, and admit no client. The first byte of an input chooses
/// the settings, such as client authentication.
enum TLSBytesFuzzer {
    private static let plainHTTPAnswer = ByteBuffer(string: "HTTP/1.1 400 Bad Request\r\n\r\n")

    private struct Answer: Equatable {
        var error: TLSError?
        var failures: [TLSHandshakeFailure?] = []
        /// The last record, if it is an alert that is not encrypted.
        var alert: [UInt8] = []
        var isPlainHTTP = false
    }

    static func runServer(_ input: UnsafeRawBufferPointer) {
        run(input) { pieces, settings in
            var answer = Answer()
            let context = TLSContexts.servers[Int(settings) % TLSContexts.servers.count]
            let server = TLSEnd(
                TLSHandler(
                    server: context, handshakeTimeout: .seconds(5), plainHTTPResponse: plainHTTPAnswer,
                    onHandshake: { failure, _ in answer.failures.append(failure) }), EmbeddedEventLoop())
            let sent = speak(pieces, to: server)
            answer.error = server.application.error
            answer.alert = alert(at: sent)
            answer.isPlainHTTP = sent.elementsEqual(plainHTTPAnswer.readableBytesView)
            precondition(answer.failures.count == 1 && answer.failures != [nil], "\(answer)")
            precondition(answer.isPlainHTTP || answer.failures != [.plainHTTP], "\(answer)")
            precondition(!answer.isPlainHTTP || [[.plainHTTP], [.notTLS]].contains(answer.failures), "\(answer)")
            return answer
        }
    }

    static func runClient(_ input: UnsafeRawBufferPointer) {
        run(input) { pieces, settings in
            let hostname = ["localhost", "127.0.0.1", "a.example"][Int(settings) % 3]
            let client = TLSEnd(
                TLSHandler(client: TLSContexts.client, hostname: hostname, handshakeTimeout: .seconds(5)), EmbeddedEventLoop())
            client.write(10)
            let sent = speak(pieces, to: client)
            return Answer(error: client.application.error, alert: alert(at: sent))
        }
    }

    private static func run(_ input: UnsafeRawBufferPointer, _ answer: (_ pieces: [ByteBuffer], _ settings: UInt8) -> Answer) {
        guard let settings = input.first, let stream = CutStream(UnsafeRawBufferPointer(rebasing: input.dropFirst())) else { return }
        let whole = answer(stream.whole, settings)
        let cut = answer(stream.pieces, settings)
        precondition(whole == cut, "whole: \(whole)\ncut: \(cut)")
    }

    /// - Returns: the bytes that the end sent.
    private static func speak(_ pieces: [ByteBuffer], to end: TLSEnd) -> [UInt8] {
        for piece in pieces { end.receive(piece.readableBytesView) }
        end.end()
        precondition(!end.application.isConnected && end.application.error != nil)
        return end.takeOutbound()
    }

    private static func alert(at bytes: [UInt8]) -> [UInt8] {
        let last = Array(bytes.suffix(7))
        // Kind, version, length. Encrypted bytes look like this only by chance.
        return last.count == 7 && last[0] == 21 && last[1] == 3 && last[3...4] == [0, 2] ? last : []
    }
}
