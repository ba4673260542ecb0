/// A request that no route can answer because its head makes no sense: 400 (RFC 9110 §15.5.1).
public struct BadRequest: Error, Equatable {
    /// What is wrong with it, for the one who sent it.
    public let reason: String

    init(_ reason: String) { self.reason = reason }

    /// The answer to send.
    public var response: Response { .text(400, "bad request: \(reason)") }
}
