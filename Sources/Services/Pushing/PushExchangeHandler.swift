import Glibc
import HTTP
import NIOCore
import NIOTLS
import Proxy
import TLS

/// Sends one message, ends its side, and waits for the receiver to end its side. If the receiver has sent no line by then, all was applied.
/// An HTTP receiver sends a response instead. If sending fails, the receiver's error line is still read.
final class PushExchangeHandler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    /// Why an exchange failed.
    enum Failure: Error {
        /// The receiver's error line, without `error: `.
        case refused(String)
        case other(String)

        /// The command prints a receiver's line without the address, as other clients show it.
        func failure(at address: PushAddress) -> PushFailure {
            switch self {
            case .refused(let reason): PushFailure(reason)
            case .other(let reason): PushFailure("\(address): \(reason)")
            }
        }
    }

    private enum State {
        case handshaking
        case sending
        /// All is sent. The receiver's answer or end is missing.
        case waiting
        case ended
    }

    /// The most bytes of an answer that are kept. A receiver's line is shorter.
    private static let maxAnswer = 16 << 10

    private let isTLS: Bool
    private var encoder: PushEncoder
    private var state: State
    private var isSending = false
    private var lastWrite: EventLoopFuture<Void>?
    private var answer = ByteBuffer()
    /// Reads the answer of an HTTP receiver; `nil` with any other.
    private var response: ResponseDecoder?
    /// The head that `response` has read. The body is in `answer`.
    private var head: ResponseHead?
    private var isAnswered = false
    /// Bytes that `response` has not read yet.
    private var unread = ByteBuffer()
    /// The first error. An answer of the receiver takes precedence.
    private var error: (any Error)?
    private var context: ChannelHandlerContext?
    private var report: ((Result<Void, Failure>) -> Void)?
    /// The outcome, if it came before `begin`.
    private var result: Result<Void, Failure>?
    /// Tells whether a receiver over TLS that has ended its side has read all.
    private var acknowledgement: EndAcknowledgement?

    /// - Parameter isHTTP: whether the encoder gives an HTTP request.
    init(_ encoder: PushEncoder, awaitsHandshake: Bool, isHTTP: Bool = false) {
        isTLS = awaitsHandshake
        self.encoder = encoder
        response = isHTTP ? ResponseDecoder() : nil
        state = awaitsHandshake ? .handshaking : .sending
    }

    /// The present step, for the text of a timeout.
    var doing: String {
        switch state {
        case .handshaking: "waiting for the TLS handshake"
        case .sending: "sending"
        case .waiting where response != nil: "waiting for the receiver's answer; whether the metrics were applied is not known"
        case .waiting, .ended: "waiting for the receiver to end its side; whether the metrics were applied is not known"
        }
    }

    /// Calls `report` with the outcome, once.
    func begin(_ report: @escaping (Result<Void, Failure>) -> Void) {
        if let result { return report(result) }
        self.report = report
    }

    /// Closes the connection without a report.
    func abandon() {
        report = nil
        state = .ended
        acknowledgement?.stop()
        context?.close(promise: nil)
    }

    func handlerAdded(context: ChannelHandlerContext) { self.context = context }

    func handlerRemoved(context: ChannelHandlerContext) { self.context = nil }

    func channelActive(context: ChannelHandlerContext) {
        context.fireChannelActive()
        send(context)
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        send(context)
        context.fireChannelWritabilityChanged()
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        switch event {
        case is TLSUserEvent:
            guard case .handshaking = state else { break }
            state = .sending
            send(context)
        case ChannelEvent.inputClosed:
            inputEnded(context)
        default: break
        }
        context.fireUserInboundEventTriggered(event)
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        var bytes = unwrapInboundIn(data)
        if response != nil { return read(&bytes, context) }
        answer.writeBuffer(&bytes)
        // A receiver sends at most one line. After it, the receiver applies nothing more.
        let isLine = answer.readableBytesView.contains(UInt8(ascii: "\n"))
        if isLine || answer.readableBytes >= PushExchangeHandler.maxAnswer { finish(context) }
    }

    /// Takes what an HTTP receiver answers.
    private func read(_ bytes: inout ByteBuffer, _ context: ChannelHandlerContext) {
        unread.writeBuffer(&bytes)
        do throws(ResponseError) {
            while let event = try response?.next(&unread) {
                switch event {
                case .incomplete: return
                case .head(let head): if !head.isInformational { self.head = head }
                case .body(var piece):
                    answer.writeBuffer(&piece)
                    if answer.readableBytes < PushExchangeHandler.maxAnswer { continue }
                    isAnswered = true
                    return finish(context)
                case .end:
                    isAnswered = true
                    return finish(context)
                }
            }
        } catch {
            note(NotHTTP())
            finish(context)
        }
    }

    private struct NotHTTP: Error {}

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        // An answer that was received before may still be in the pipeline. `channelInactive` follows it.
        note(error)
        acknowledgement?.stop()
        acknowledgement = nil
        context.close(promise: nil)
    }

    func channelInactive(context: ChannelHandlerContext) {
        if let acknowledgement { acknowledgement.channelClosed() } else { finish(context) }
        context.fireChannelInactive()
    }

    private func send(_ context: ChannelHandlerContext) {
        // A write may call `channelWritabilityChanged` before it returns.
        guard case .sending = state, !isSending else { return }
        isSending = true
        defer { isSending = false }
        while case .sending = state, context.channel.isActive, context.channel.isWritable {
            guard let piece = encoder.next() else { return endOutput(context) }
            lastWrite = context.writeAndFlush(wrapOutboundOut(piece))
        }
    }

    private func endOutput(_ context: ChannelHandlerContext) {
        state = .waiting
        // The request has a length, so its end is known. Some proxies do not answer a client that has ended its side.
        if response != nil {
            lastWrite?.assumeIsolated().whenFailure { [self] error in note(error) }
            return
        }
        let ended = context.eventLoop.makePromise(of: Void.self)
        lastWrite?.assumeIsolated().whenComplete { result in
            switch result {
            case .success: context.close(mode: .output, promise: ended)
            case .failure(let error): ended.fail(error)
            }
        }
        // A peer that has closed the connection before may look like one that has ended its side properly.
        ended.futureResult.assumeIsolated().whenFailure { [self] error in note(error) }
    }

    private func note(_ error: any Error) {
        if self.error == nil { self.error = error }
    }

    private func inputEnded(_ context: ChannelHandlerContext) {
        guard response == nil else { return finish(context) }
        // A receiver ends its side when it has read our close_notify. Our end of the TCP connection may still be on its way then.
        if isTLS, case .waiting = state, error == nil, let acknowledgement = EndAcknowledgement(of: context.channel) {
            self.acknowledgement = acknowledgement
            return acknowledgement.wait { [self] isAcknowledged in
                self.acknowledgement = nil
                if !isAcknowledged { note(ChannelError.eof) }
                finish(self.context)
            }
        }
        if PushExchangeHandler.hasNotReadAll(context.channel) { note(ChannelError.eof) }
        finish(context)
    }

    /// Whether the peer ended its side before it received our end. Without TLS a receiver never does that; a program that accepts and
    /// closes at once does.
    private static func hasNotReadAll(_ channel: any Channel) -> Bool {
        guard let options = channel as? any SocketOptionProvider else { return false }
        var hasFailed = false
        // The futures have their results at once, because this is the channel's event loop.
        options.unsafeGetSocketOption(level: .socket, name: .so_error).assumeIsolated()
            .whenSuccess { (error: CInt) in hasFailed = error != 0 }
        guard channel.remoteAddress?.port != nil else { return hasFailed }
        options.unsafeGetSocketOption(level: .tcp, name: NIOBSDSocket.Option(rawValue: TCP_INFO)).assumeIsolated()
            .whenSuccess { (state: TCPState) in hasFailed = hasFailed || state.isOursUnacknowledged }
        return hasFailed
    }

    private func finish(_ context: ChannelHandlerContext?) {
        if case .ended = state { return }
        let result = outcome
        state = .ended
        context?.close(promise: nil)
        if let report {
            self.report = nil
            report(result)
        } else {
            self.result = result
        }
    }

    private var outcome: Result<Void, Failure> {
        if response != nil { return httpOutcome }
        if answer.readableBytes > 0 { return .failure(PushExchangeHandler.failure(answer)) }
        switch (error, state) {
        case (let error?, _): return .failure(.other(words(error)))
        case (nil, .waiting): return .success(())
        case (nil, .handshaking): return .failure(.other(words(TLSError.closedDuringHandshake)))
        case (nil, .sending), (nil, .ended):
            return .failure(.other("the connection was closed before all was sent; does a receiver of exporter-proxy listen there?"))
        }
    }

    private var httpOutcome: Result<Void, Failure> {
        let line = PrintableText(String(decoding: answer.readableBytesView.prefix { $0 != UInt8(ascii: "\n") }, as: UTF8.self)).text
        switch (head, error) {
        case (let head?, _) where (200..<300).contains(head.status): return .success(())
        case (let head?, _) where isAnswered || answer.readableBytes > 0:
            guard line.hasPrefix("error: ") else {
                let answered = "it answered \(head.status) \(head.reason)"
                guard head.status != 404, head.status != 405 else {
                    return .failure(.other("\(answered), as a scrape address does: give the address of receiver_http_socket"))
                }
                return .failure(.other("\(answered)\(line.isEmpty ? "" : ": \(line)")"))
            }
            return .failure(.refused(String(line.dropFirst("error: ".count))))
        case (_, is NotHTTP): return .failure(.other("not an HTTP receiver (receiver_http_socket): its answer is not HTTP"))
        case (_, let error?): return .failure(.other(words(error)))
        case (_, nil): return .failure(.other(words(ChannelError.eof)))
        }
    }

    private static func failure(_ answer: ByteBuffer) -> Failure {
        let bytes = answer.readableBytesView
        // The beginning of an alert in TLS (RFC 8446 §5.1).
        if bytes.starts(with: [0x15, 0x03]) {
            return .other("the port speaks TLS: write tls:// instead of tcp:// if it is a receiver, not a scrape address")
        }
        if bytes.starts(with: "HTTP/".utf8) {
            return .other(
                "the port speaks HTTP, like a scrape address: give the address of a receiver (receiver_tcp_socket), or write http:// or https:// for receiver_http_socket"
            )
        }
        let line = PrintableText(String(decoding: bytes.prefix { $0 != UInt8(ascii: "\n") }, as: UTF8.self)).text
        guard line.hasPrefix("error: ") else { return .other("not a receiver of exporter-proxy; it answered: \(line)") }
        return .refused(String(line.dropFirst("error: ".count)))
    }

    private func words(_ error: any Error) -> String {
        let isUncertain = if case .waiting = state { "; whether the metrics were applied is not known" } else { "" }
        switch error {
        case TLSError.handshakeFailed, TLSError.closedDuringHandshake:
            return "\(error); if this receiver takes no TLS, write \(response == nil ? "tcp" : "http")://"
        case ChannelError.eof, ChannelError.outputClosed, ChannelError.alreadyClosed, ChannelError.ioOnClosedChannel:
            return "the connection was closed before all was read\(isUncertain); does a receiver of exporter-proxy listen there?"
        case TLSError.truncated: return "the connection was cut\(isUncertain)"
        case let error as TLSError: return "\(error)"
        case let error as IOError:
            let reason = SystemError.text(error.errnoCode)
            return "the connection was lost: \(reason)\(isUncertain); does a receiver of exporter-proxy listen there?"
        default: return "the connection was lost: \(error)\(isUncertain)"
        }
    }
}
