public import HTTP
public import NIOCore
import Synchronization

/// Lets in who knows a user's password (`basic_auth_users`), in front of all routes but the health checks.
///
/// A password that was right once is recognised by a keyed hash of it and costs a scrape nothing. All others are checked one after
/// another on a thread of their own; only so many may wait, so that a flood of wrong ones takes neither memory nor time from those
/// who are in. An unknown name waits for a check like any other.
public final class BasicAuth: Responder {
    /// Passwords that may wait to be checked.
    static let maxPending = 32

    private struct State {
        var users: [String: BcryptHash]
        /// What stands for the right name and password of each user who has been here.
        var admitted: [String: KeyedHash.Tag] = [:]
        /// Who waits for which check.
        var pending: [KeyedHash.Tag: [EventLoopPromise<Bool>]] = [:]
    }

    private enum Judgement {
        case admitted
        case refused
        case busy
        case later(EventLoopFuture<Bool>)
    }

    private let routes: any Responder
    private let checker: any PasswordChecker
    private let hash = KeyedHash()
    /// Guards the users in force, and what is known of passwords.
    private let state: Mutex<State>

    /// - Parameters:
    ///   - users: each name with the hash of its password; without any, everyone is let in.
    ///   - routes: what is behind the door.
    public init(users: [String: BcryptHash], checker: any PasswordChecker, routes: any Responder) {
        self.routes = routes
        self.checker = checker
        state = Mutex(State(users: users))
    }

    /// Lets in these users from the next request on; who stays with the same password is not checked again.
    public func setUsers(_ users: [String: BcryptHash]) {
        state.withLock { state in
            state.admitted = state.admitted.filter { name, _ in users[name] != nil && users[name] == state.users[name] }
            state.users = users
        }
    }

    /// Answers 401 to who may not come in.
    public func respond(to request: Request, on eventLoop: any EventLoop) -> Answer {
        guard !Self.isOpen(request.path) else { return routes.respond(to: request, on: eventLoop) }
        switch judge(request.authorization, on: eventLoop) {
        case .admitted: return routes.respond(to: request, on: eventLoop)
        case .refused: return .now(Self.unauthorized)
        case .busy: return .now(Self.busy)
        case .later(let verdict):
            return .later(
                verdict.flatMap { [routes] isAdmitted in
                    guard isAdmitted else { return eventLoop.makeSucceededFuture(Self.unauthorized) }
                    return switch routes.respond(to: request, on: eventLoop) {
                    case .now(let response): eventLoop.makeSucceededFuture(response)
                    case .later(let response): response
                    }
                })
        }
    }

    /// Health checks come from machines that have no password.
    private static func isOpen(_ path: String) -> Bool {
        path == "/-/healthy" || path == "/-/ready"
    }

    private func judge(_ authorization: String?, on eventLoop: any EventLoop) -> Judgement {
        enum Next {
            case done(Judgement)
            case check(BasicCredentials, KeyedHash.Tag, users: [String: BcryptHash], EventLoopFuture<Bool>)
        }
        let next: Next = state.withLock { state in
            guard !state.users.isEmpty else { return .done(.admitted) }
            guard let credentials = BasicCredentials(authorization) else { return .done(.refused) }
            let tag = hash.tag(Array(credentials.name.utf8) + [0] + credentials.password)
            if state.admitted[credentials.name] == tag { return .done(.admitted) }
            let isAsked = state.pending[tag] != nil
            guard isAsked || state.pending.count < Self.maxPending else { return .done(.busy) }
            let promise = eventLoop.makePromise(of: Bool.self)
            // Who asks for what somebody asks for already hears the same answer.
            state.pending[tag, default: []].append(promise)
            return isAsked ? .done(.later(promise.futureResult)) : .check(credentials, tag, users: state.users, promise.futureResult)
        }
        switch next {
        case .done(let judgement): return judgement
        case .check(let credentials, let tag, let users, let verdict):
            // Outside the lock: the answer may be there at once.
            check(credentials, tag, against: users, on: eventLoop)
            return .later(verdict)
        }
    }

    private func check(
        _ credentials: BasicCredentials, _ tag: KeyedHash.Tag, against users: [String: BcryptHash], on eventLoop: any EventLoop
    ) {
        let own = users[credentials.name]
        guard let hash = own ?? standIn(for: credentials.name, among: users) else { return }
        checker.check(credentials.password, against: hash, on: eventLoop).whenComplete { [self] result in
            let isRight = (try? result.get()) == true && own != nil
            let waiting = state.withLock { state in
                // The user may have left, or got another password, since.
                let isAdmitted = isRight && state.users[credentials.name] == own
                if isAdmitted { state.admitted[credentials.name] = tag }
                return (state.pending.removeValue(forKey: tag) ?? []).map { ($0, isAdmitted) }
            }
            for (promise, isAdmitted) in waiting { promise.succeed(isAdmitted) }
        }
    }

    /// The hash whose check takes the time of an unknown name: always the same for one name, and as costly as those of users are.
    private func standIn(for name: String, among users: [String: BcryptHash]) -> BcryptHash? {
        let hashes = users.values.sorted { $0.text < $1.text }
        guard !hashes.isEmpty else { return nil }
        return hashes[Int(hash.tag(Array(name.utf8)).low % UInt64(hashes.count))]
    }

    private static let unauthorized = Response.text(
        401, "unauthorized", headers: [("WWW-Authenticate", "Basic realm=\"exporter-proxy\", charset=\"UTF-8\""), Response.neverStored])
    private static let busy = Response.text(
        503, "too many passwords wait to be checked; try again", headers: [("Retry-After", "1"), Response.neverStored])
}
