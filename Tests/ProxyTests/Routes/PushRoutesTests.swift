import HTTP
import NIOCore
import NIOEmbedded
import Testing

@testable import Proxy

@Suite("PushRoutes")
struct PushRoutesTests {
    private let checks = HeldChecks()
    private let users: BasicAuthUsers
    private let browserGuard = BrowserGuard(routes: NoRoutes())
    private let eventLoop = EmbeddedEventLoop()
    private let intake = Intake(store: MetricStore()) { Timestamp(nanoseconds: 0).moment }
    private let lifecycle = SwitchedLifecycle()
    private let routes: PushRoutes

    init() {
        users = BasicAuthUsers(HeldChecks.users, checker: checks)
        routes = PushRoutes(
            intake: intake, groups: PushGroups(intake), users: users, browserGuard: browserGuard, lifecycle: lifecycle)
    }

    private struct NoRoutes: Responder {
        func respond(to request: Request, on eventLoop: any EventLoop) -> Answer { .now(.text(404, "")) }
    }

    private func begin(password: String, _ user: PushRoutes.User) throws -> PushRoutes.Beginning {
        try begin(.put, "/apps/a", password: password, user).beginning
    }

    /// - Parameter password: `nil` for a request without credentials.
    /// - Returns: also the refusals that were reported.
    private func begin(
        _ method: Request.Method, _ target: String, encoding: String? = nil, password: String?, _ user: PushRoutes.User = .unchecked
    ) throws -> (beginning: PushRoutes.Beginning, refused: [Rejection]) {
        var head = RequestHead(method: method, target: target)
        head.host = "localhost"
        head.contentEncoding = encoding
        head.authorization = password.map { HeldChecks.basic("prom", $0) }
        let request = try Request(head, isTLS: false, peer: .unknown)
        var refused: [Rejection] = []
        let beginning = routes.begin(head, request, user: user, on: eventLoop) {
            Sender(peer: .unknown, user: $0)
        } refused: { rejection, _ in
            refused.append(rejection)
        }
        return (beginning, refused)
    }

    /// What comes of a request once its password was checked, and the result of the check.
    private func checked(password: String) throws -> (PushRoutes.Beginning, isAdmitted: Bool)? {
        guard case .wait(let verdict) = try begin(password: password, .unchecked) else { return nil }
        checks.answerAll()
        let isAdmitted = try verdict.wait()
        return (try begin(password: password, .checked(isAdmitted: isAdmitted)), isAdmitted)
    }

    @Test("a right password is checked once, and the request goes on with its user")
    func right() throws {
        let (beginning, isAdmitted) = try #require(try checked(password: "openesame"))
        guard case .body(_, let sender) = beginning else {
            Issue.record("\(beginning)")
            return
        }
        #expect(isAdmitted && sender.user == "prom")
        #expect(checks.count == 1)
    }

    @Test("a wrong password is checked once, and gets 401")
    func wrong() throws {
        let (beginning, isAdmitted) = try #require(try checked(password: "wrong"))
        guard case .answer(let response) = beginning else {
            Issue.record("\(beginning)")
            return
        }
        #expect(!isAdmitted && response.status == 401)
        #expect(checks.count == 1 && checks.hashes.isEmpty)
    }

    @Test("a push to an unknown path, or by a method that the path does not take, is reported; a question is not")
    func unknownPaths() throws {
        users.set([:])
        for (method, target, rejection) in [
            (Request.Method.put, "/app/a", Rejection.unknownPath), (.post, "/metrics/jobs/a", .unknownPath), (.delete, "/a", .unknownPath),
            (.put, "/apps", .methodNotAllowed(allowed: "POST")), (.post, "/apps/a", .methodNotAllowed(allowed: "PUT, DELETE")),
        ] {
            for (asked, reported) in [(method, [rejection]), (.get, []), (.head, []), (.other("OPTIONS"), [])] {
                let (beginning, refused) = try begin(asked, target, password: "")
                guard case .answer(let response) = beginning else {
                    Issue.record("\(asked) \(target): \(beginning)")
                    continue
                }
                #expect(response.status == rejection.httpStatus && refused == reported, "\(asked) \(target)")
            }
        }
    }

    @Test("without credentials only a push is reported; a wrong password is, whatever the method is")
    func withoutCredentials() throws {
        for method in [Request.Method.put, .post, .delete, .get, .head] {
            let (beginning, refused) = try begin(method, "/apps/a", password: nil)
            guard case .answer(let response) = beginning else {
                Issue.record("\(method): \(beginning)")
                continue
            }
            #expect(response.status == 401)
            #expect(refused == ([.put, .post, .delete].contains(method) ? [.unauthorized] : []), "\(method)")
            let (_, guessed) = try begin(method, "/apps/a", password: "wrong", .checked(isAdmitted: false))
            #expect(guessed == [.unauthorized], "\(method)")
        }
    }

    @Test("a push for a host that is not allowed is reported; a question is not, and neither is a probe")
    func hosts() throws {
        browserGuard.setAllowedHosts(["metrics.example"])
        for (method, target, isReported) in [
            (Request.Method.put, "/apps/a", true), (.post, "/apps", true), (.delete, "/apps/a", true), (.get, "/", false),
            (.head, "/favicon.ico", false), (.get, "/-/healthy", false),
        ] {
            let (beginning, refused) = try begin(method, target, password: "openesame")
            guard case .answer(let response) = beginning else {
                Issue.record("\(method) \(target): \(beginning)")
                continue
            }
            #expect(response.status == 421, "\(method) \(target)")
            #expect(refused.map(\.httpStatus) == (isReported ? [421] : []), "\(method) \(target)")
        }
    }

    @Test("a password that is not checked, because too many wait for their check, is reported")
    func tooManyPasswords() throws {
        for number in 0..<BasicAuthUsers.maxPending {
            guard case .wait = try begin(password: "\(number)", .unchecked) else {
                Issue.record("not checked")
                return
            }
        }
        let (beginning, refused) = try begin(.put, "/apps/a", password: "openesame")
        guard case .answer(let response) = beginning else {
            Issue.record("\(beginning)")
            return
        }
        #expect(response.status == 503 && refused == [.tooManyPasswords])
        checks.answerAll()
    }

    @Test("users that change right after a check have the password checked again")
    func usersChanged() throws {
        guard case .wait(let verdict) = try begin(password: "openesame", .unchecked) else {
            Issue.record("not checked")
            return
        }
        checks.answerAll()
        #expect(try verdict.wait())
        users.set(["prom": try #require(HeldChecks.users["other"])])
        guard case .wait(let second) = try begin(password: "openesame", .checked(isAdmitted: true)) else {
            Issue.record("not checked")
            return
        }
        checks.answerAll()
        #expect(try !second.wait())
    }

    @Test("a push that app_label may make long is left to a pool, which reserves memory for its labels", arguments: [1, 200])
    func longLabels(length: Int) throws {
        users.set([:])
        var config = Config()
        config.metrics.appLabel = "app"
        intake.rules = IntakeRules(config)
        let (source, budget) = (Source.push(listener: "l"), ByteBudget(limit: .mebibytes(1)))
        let name = String(repeating: "n", count: length)
        let app = try #require(AppName(name))
        let metrics = String(repeating: "a 1\n", count: 2000)
        let json = "{\"\(name)\": \"\(metrics.replacing("\n", with: "\\n"))\"}"
        for (method, path, text) in [(Request.Method.put, "/apps/\(name)", metrics), (.post, "/apps", json)] {
            guard case .body(let push, let sender) = try begin(method, path, password: nil).beginning else {
                Issue.record("\(path)")
                continue
            }
            var body = try BodyBytes(coding: push.coding, expected: text.utf8.count, limit: .mebibytes(1), budget: budget)
            try body.append(ByteBuffer(string: text))
            let first = routes.end(push, body, from: sender, through: source, most: push.mostOnEventLoop)
            let isLong = if case .takesLonger = first { true } else { false }
            #expect(isLong == (length > 1), "\(path)")
            #expect(intake.store.count == (isLong ? 0 : 1))
            guard case .answer(let response, nil) = routes.end(push, body, from: sender, through: source, most: .max) else {
                Issue.record("\(path)")
                continue
            }
            let stored = try #require(intake.store.app(named: app))
            #expect(response.status == 204 && stored.exposition.size == 2000 * "a{app=\"\(name)\"} 1\n".utf8.count)
            if method == .put { #expect(routes.cost(of: push, body) >= text.utf8.count + stored.exposition.size) }
            _ = intake.store.remove(app)
        }
    }

    @Test("a deletion is logged with the path that was requested")
    func deletions() throws {
        users.set([:])
        let (source, budget) = (Source.push(listener: "l"), ByteBudget(limit: .mebibytes(1)))
        let deletions = [
            ("job/a", "/apps/job/a", 204), ("job/x/a/b", "/metrics/job/x/a/b", 202), ("job/x/a/%2F", "/metrics/job/x/a@base64/Lw", 202),
        ]
        for (app, path, status) in deletions {
            let metrics = Exposition(addingNewlineTo: ByteBuffer(string: "a 1"))
            try intake.apply(
                Push(apps: [(name: try #require(AppName(app)), exposition: metrics)]), from: Sender(peer: .unknown), through: source)
            guard case .body(let push, let sender) = try begin(.delete, path, password: nil).beginning else {
                Issue.record("\(path)")
                continue
            }
            let body = try BodyBytes(coding: push.coding, expected: 0, limit: .mebibytes(1), budget: budget)
            guard case .answer(let response, nil) = routes.end(push, body, from: sender, through: source, most: .max) else {
                Issue.record("\(path)")
                continue
            }
            #expect(response.status == status && intake.store.count == 0)
        }
        #expect(lifecycle.changes.map(\.request) == deletions.map { "DELETE \($0.1)" })
        #expect(lifecycle.changes.map(\.status) == deletions.map { $0.2 })
    }
}
