import NIOCore
import Synchronization

@testable import Proxy

/// Keeps each check until the test lets it go, and counts them.
final class HeldChecks: PasswordChecker {
    private struct Held {
        var password: [UInt8]
        var hash: BcryptHash
        var promise: EventLoopPromise<Bool>
    }

    private let held = Mutex<[Held]>([])
    private let total = Atomic(0)

    /// How many were asked for.
    var count: Int { total.load(ordering: .relaxed) }
    /// Whose hashes were asked for and are not answered.
    var hashes: [BcryptHash] { held.withLock { $0.map(\.hash) } }

    func check(_ password: [UInt8], against hash: BcryptHash, on eventLoop: any EventLoop) -> EventLoopFuture<Bool> {
        total.add(1, ordering: .relaxed)
        let promise = eventLoop.makePromise(of: Bool.self)
        held.withLock { $0.append(Held(password: password, hash: hash, promise: promise)) }
        return promise.futureResult
    }

    /// Answers all that wait, truly.
    func answerAll() {
        let all = held.withLock { held in
            defer { held = [] }
            return held
        }
        for one in all { one.promise.succeed(one.hash.matches(one.password)) }
    }

    /// `openesame` and `other`, at the lowest cost.
    static let users: [String: BcryptHash] = [
        "prom": hash("$2y$04$abcdefghijklmnopqrstuuulwc451dv4LP4yGjbsf9WerSYc6su2O"),
        "other": hash("$2y$04$zyxwvutsrqponmlkjihgfeoEG75ieRiMxivbt62jo80oWmRUDHZ.e"),
    ]

    private static func hash(_ text: String) -> BcryptHash {
        do { return try BcryptHash(parsing: text) } catch { fatalError("the tests' own hash: \(error)") }
    }

    /// A value of `Authorization`.
    static func basic(_ name: String, _ password: String) -> String { "Basic \(Base64.encode(Array("\(name):\(password)".utf8)))" }
}
