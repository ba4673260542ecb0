import HTTP
import NIOCore

/// One path and what it answers.
protocol Route: Sendable {
    /// The exact path, percent-decoded; where it has a part in capitals, that stands for any.
    var path: String { get }
    /// What is there, in a few words: for the landing page and the answer to an unknown path.
    var summary: String { get }
    /// The methods it takes; others get 405. Whoever takes GET takes HEAD and answers it alike: the body is dropped later.
    var methods: [Request.Method] { get }

    /// Whether the request's path is this route's, whatever its method.
    func serves(_ request: Request) -> Bool
    /// Never blocks; called for `methods` alone.
    func respond(to request: Request, on eventLoop: any EventLoop) -> Answer
}

extension Route {
    var methods: [Request.Method] { readingMethods }

    func serves(_ request: Request) -> Bool { path == request.path }
}

private let readingMethods: [Request.Method] = [.get, .head]
