public import NIOCore

/// Where passwords are hashed: a thread of the shell on which nothing else waits.
public protocol PasswordChecker: Sendable {
    /// Checks one password after another, in the order of the calls. The future belongs to `eventLoop` and never fails; a checker that
    /// is shut down says no.
    func check(_ password: [UInt8], against hash: BcryptHash, on eventLoop: any EventLoop) -> EventLoopFuture<Bool>
}
