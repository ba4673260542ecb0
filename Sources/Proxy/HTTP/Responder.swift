public import NIOCore

/// Turns requests into responses.
public protocol Responder: Sendable {
    /// Never blocks; called on the connection's event loop.
    func respond(to request: Request, on eventLoop: any EventLoop) -> Answer
}

/// A response, now or later: the ordinary scrape is `.now`, without a task or a suspension.
public enum Answer {
    case now(Response)
    /// Where the work would hold up the event loop (a large compression); the future belongs to the event loop handed in and never fails.
    case later(EventLoopFuture<Response>)
}
