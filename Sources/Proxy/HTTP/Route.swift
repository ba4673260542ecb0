import NIOCore

/// One path and what it answers.
protocol Route: Sendable {
    /// The exact path, percent-decoded.
    var path: String { get }
    /// What is there, in a few words: for the landing page and the answer to an unknown path.
    var summary: String { get }
    /// The methods it takes; others get 405. Whoever takes GET takes HEAD and answers it alike: the body is dropped later.
    var methods: [Request.Method] { get }

    /// Never blocks; called for `methods` alone.
    func respond(to request: Request, on eventLoop: any EventLoop) -> Answer
}

extension Route {
    var methods: [Request.Method] { readingMethods }
}

private let readingMethods: [Request.Method] = [.get, .head]
