import HTTP
import Logging
import NIOCore
import Proxy

/// The requests of one connection of the scrape side: no route takes a body, so that each is answered when it is complete.
final class ScrapeExchange: HTTPExchange {
    /// What comes with a request is read past, up to this, in bytes.
    static let maxBody = 64 << 10

    private let responder: any Responder
    private let requests: RequestMetrics
    private let log: ConnectionLog
    private let peer: Peer
    private let isTLS: Bool
    /// The request under way.
    private var head: RequestHead?
    /// Its path; `nil` when it could not be read.
    private var path: String?

    init(responder: any Responder, requests: RequestMetrics, log: ConnectionLog, peer: Peer, isTLS: Bool) {
        self.responder = responder
        self.requests = requests
        self.log = log
        self.peer = peer
        self.isTLS = isTLS
    }

    func begin(_ head: RequestHead, on eventLoop: any EventLoop) -> HTTPBeginning {
        self.head = head
        path = nil
        return .body
    }

    func take(_ piece: ByteBuffer) -> Response? { nil }

    func end(on eventLoop: any EventLoop) -> Answer {
        guard let head else { return .now(.text(500, "internal server error")) }
        do {
            let request = try Request(head, isTLS: isTLS, peer: peer)
            path = request.path
            return responder.respond(to: request, on: eventLoop)
        } catch {
            return .now(error.response)
        }
    }

    func refuse(_ error: RequestError) -> Response {
        head = nil
        path = nil
        return .text(error.status, error.reason)
    }

    func willSend(_ response: Response) {
        requests.count(path: path, code: response.status)
        // Log only wrong credentials: a request without any gets 401 as a matter of course.
        if response.status == 401, head?.authorization != nil { log.write(.info, "wrong password", peer: peer.description) }
    }
}
