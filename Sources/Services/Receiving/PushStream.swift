import NIOCore
import Proxy
import TLS

/// The pushes of one connection: bytes go in, apps are stored. It keeps no channel, so `FirstReadHandler` and `PushHandler` can both use
/// it.
struct PushStream: Sendable {
    /// Where the pushes of a receiver go. Used from any thread.
    struct Destination: Sendable {
        let intake: Intake
        let source: Source
        let metrics: ListenerMetrics

        /// The most memory, in bytes, that `apply` takes beyond the message.
        func cost(of message: UndecodedPush) -> Int {
            message.decodingCost(maxApps: intake.store.mostApps) + intake.mostLabelled(message)
        }

        /// Decodes and applies a message.
        func apply(_ message: UndecodedPush, _ format: PushFormat, from sender: Sender) -> Rejection? {
            do throws(Rejection) {
                try apply(try message.decode(maxApps: intake.store.mostApps), format, from: sender)
                return nil
            } catch {
                return error
            }
        }

        fileprivate func apply(_ push: Push, _ format: PushFormat, from sender: Sender) throws(Rejection) {
            try intake.apply(push, from: sender, through: source)
            metrics.countReceived(ListenerMetrics.Format(format))
        }
    }

    /// Why `applyComplete` has returned.
    enum Stop: Sendable {
        case needsMore
        case turnIsOver
        case large(UndecodedPush)
        case rejected(Rejection)
    }

    let destination: Destination
    let format: PushFormat
    private let isTLS: Bool
    /// Why every message of this connection is refused; `nil` if they are taken.
    private let refusal: Rejection?
    private var decoder: any PushDecoder
    /// Made with the first message.
    private var sender: Sender?

    /// - Parameters:
    ///   - isTLS: whether TLS carries the connection.
    ///   - refusal: why every message of this connection is refused.
    init(_ destination: Destination, _ settings: ReceiverSettings, isTLS: Bool = false, refusal: Rejection? = nil) {
        self.isTLS = isTLS
        self.destination = destination
        self.refusal = refusal
        format = settings.format
        decoder = settings.format.makeDecoder(maxMessageSize: settings.maxMessageSize)
    }

    /// A larger message is refused. A change affects the message that has begun, too.
    var maxMessageSize: ByteCount {
        get { decoder.maxMessageSize }
        set { decoder.maxMessageSize = newValue }
    }

    var heldBytes: Int { decoder.heldBytes }
    var isWithinMessage: Bool { decoder.isWithinMessage }

    mutating func feed(_ bytes: ByteBuffer) { decoder.feed(bytes) }

    mutating func finish() throws(Rejection) { try decoder.finish() }

    /// Applies complete messages, at least one if there is one, until more bytes are needed or the turn is over.
    /// - Parameter nextIsLast: whether only one message is still taken.
    /// - Returns: why it stopped, and whether a message was applied.
    mutating func applyComplete(
        in turn: EventLoopTurns.Turn, of channel: any Channel, nextIsLast: Bool = false
    ) -> (stop: Stop, applied: Bool) {
        if let refusal { return (.rejected(takeRejectionOfHTTP() ?? refusal), false) }
        var applied = false
        do throws(Rejection) {
            while let message = try decoder.next() {
                switch message {
                case .undecoded(let message): return (.large(message), applied)
                case .push(let push) where destination.intake.isLong(push): return (.large(UndecodedPush(decoded: push)), applied)
                case .push(let push): try destination.apply(push, format, from: sender(of: channel))
                }
                applied = true
                if nextIsLast { break }
                if turn.isOver, decoder.isWithinMessage { return (.turnIsOver, true) }
            }
            return (.needsMore, applied)
        } catch {
            return (.rejected(error), applied)
        }
    }

    /// Decodes what has come, and finds out whether it is an HTTP request: that gets an answer in HTTP, whatever the refusal is.
    private mutating func takeRejectionOfHTTP() -> Rejection? {
        do throws(Rejection) {
            _ = try decoder.next()
        } catch {
            if case .wrongFormat(.http, _) = error { return error }
        }
        return nil
    }

    /// Sets the peer of a connection without TLS. Otherwise `sender` would look for its socket again, which costs more than a small push.
    mutating func setPeer(of socket: SocketOfChannel) {
        sender = Sender(peer: Sender.Peer(of: socket))
    }

    /// The peer of the channel. Called on its event loop, or before it is registered with one.
    mutating func sender(of channel: any Channel) -> Sender {
        if let sender { return sender }
        // A channel that is not registered with an event loop has no handlers yet.
        let tls = isTLS ? try? channel.pipeline.syncOperations.handler(type: TLSHandler.self) : nil
        let made = Sender(peer: Sender.Peer(of: channel), certificateNames: tls?.verifiedClientNames ?? [])
        sender = made
        return made
    }
}
