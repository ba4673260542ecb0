import HTTP
import NIOCore
import NIOEmbedded
import Testing

@testable import Proxy

/// Says what was asked for.
private struct Echo: Responder {
    func respond(to request: Request, on eventLoop: any EventLoop) -> Answer { .now(.text(200, request.path)) }
}

struct BasicAuthTests {
    private let checks = HeldChecks()
    private let eventLoop = EmbeddedEventLoop()
    private let door: BasicAuth

    init() {
        door = BasicAuth(users: HeldChecks.users, checker: checks, routes: Echo())
    }

    /// The answer to come; the statuses of those that have come.
    private func ask(_ authorization: String?, at path: String = "/metrics", method: Request.Method = .get) -> EventLoopFuture<Response> {
        switch door.respond(to: Request(method: method, path: path, authorization: authorization), on: eventLoop) {
        case .now(let response): eventLoop.makeSucceededFuture(response)
        case .later(let response): response
        }
    }

    private func status(_ authorization: String?, at path: String = "/metrics", method: Request.Method = .get) throws -> Int {
        let answer = ask(authorization, at: path, method: method)
        checks.answerAll()
        return try answer.wait().status
    }

    @Test("the right password lets in, once checked without another check")
    func right() throws {
        #expect(try status(HeldChecks.basic("prom", "openesame")) == 200)
        #expect(checks.count == 1)
        for _ in 0..<5 { #expect(try status(HeldChecks.basic("prom", "openesame")) == 200) }
        #expect(checks.count == 1)
        #expect(try status(HeldChecks.basic("prom", "openesame"), at: "/-/reload", method: .post) == 200)
        #expect(checks.count == 1)
    }

    @Test("a wrong password, an unknown name: 401, and a check each time")
    func wrong() throws {
        #expect(try status(HeldChecks.basic("prom", "openesam")) == 401)
        #expect(try status(HeldChecks.basic("prom", "")) == 401)
        #expect(try status(HeldChecks.basic("nobody", "openesame")) == 401)
        #expect(try status(HeldChecks.basic("other", "openesame")) == 401)
        #expect(try status(HeldChecks.basic("", "openesame")) == 401)
        #expect(checks.count == 5)
        #expect(try status(HeldChecks.basic("prom", "openesam")) == 401)
        #expect(checks.count == 6)
    }

    @Test("a right password is not remembered for another name, nor a wrong one for its own")
    func memory() throws {
        #expect(try status(HeldChecks.basic("prom", "openesame")) == 200)
        #expect(try status(HeldChecks.basic("other", "openesame")) == 401)
        #expect(try status(HeldChecks.basic("prom", "wrong")) == 401)
        #expect(try status(HeldChecks.basic("prom", "openesame")) == 200)
        #expect(checks.count == 3)
    }

    @Test(
        "what is no name and password is refused without a check, and told how",
        arguments: [nil, "", "Basic", "Basic ", "Basic !!!!", "Basic cHJvbQ==", "Basic cHJvbTpv=", "Bearer cHJvbTpv", "Basic /zpv"])
    func malformed(authorization: String?) throws {
        let response = try ask(authorization).wait()
        #expect(response.status == 401)
        #expect(
            response.headers.contains { $0.name == "WWW-Authenticate" && $0.value == "Basic realm=\"exporter-proxy\", charset=\"UTF-8\"" })
        #expect(checks.count == 0)
    }

    @Test("the scheme's case does not count, and the password may have colons")
    func forms() throws {
        door.setUsers(["colon": try BcryptHash(parsing: "$2b$04$ABCDEFGHIJKLMNOPQRSTUuI1SHuU6mznLFL6K7/gwfO6ABxrUe5xu")])
        let encoded = Base64.encode(Array("colon:a:b".utf8))
        #expect(try status("bAsIc  \(encoded)") == 200)
    }

    @Test("health checks need no password, all else does", arguments: ["/-/healthy", "/-/ready"])
    func health(path: String) throws {
        #expect(try status(nil, at: path) == 200)
        for closed in ["/", "/metrics", "/apps", "/sd", "/-/reload", "/nothing", "\(path)/", "\(path)x", "/-", ""] {
            #expect(try status(nil, at: closed) == 401, "\(closed)")
        }
    }

    @Test("an unknown name is checked against a user's hash, always the same one")
    func standIn() throws {
        let first = ask(HeldChecks.basic("nobody", "x"))
        let second = ask(HeldChecks.basic("nobody", "y"))
        let hashes = checks.hashes
        #expect(hashes.count == 2 && Set(hashes).count == 1)
        #expect(HeldChecks.users.values.contains(hashes[0]))
        checks.answerAll()
        #expect(try first.wait().status == 401)
        #expect(try second.wait().status == 401)
        // Its password does not let in either.
        #expect(try status(HeldChecks.basic("nobody", "openesame")) == 401)
        #expect(try status(HeldChecks.basic("nobody", "other")) == 401)
    }

    @Test("those who ask the same at once share one check")
    func shared() throws {
        let answers = (0..<10).map { _ in ask(HeldChecks.basic("prom", "openesame")) }
        #expect(checks.count == 1)
        checks.answerAll()
        for answer in answers { #expect(try answer.wait().status == 200) }
    }

    @Test("only so many checks wait; who is in does not notice")
    func flood() throws {
        #expect(try status(HeldChecks.basic("prom", "openesame")) == 200)
        let waiting = (0..<BasicAuthUsers.maxPending).map { ask(HeldChecks.basic("prom", "guess \($0)")) }
        let refused = try ask(HeldChecks.basic("prom", "one more")).wait()
        #expect(refused.status == 503)
        #expect(refused.headers.contains { $0.name == "Retry-After" })
        #expect(checks.count == BasicAuthUsers.maxPending + 1)
        // No check: the answer is there at once.
        #expect(try ask(HeldChecks.basic("prom", "openesame")).wait().status == 200)
        checks.answerAll()
        for answer in waiting { #expect(try answer.wait().status == 401) }
        #expect(try status(HeldChecks.basic("other", "other")) == 200)
    }

    @Test("users of a reload count from the next request on, and who stays is not checked again")
    func reload() throws {
        #expect(try status(HeldChecks.basic("prom", "openesame")) == 200)
        #expect(try status(HeldChecks.basic("other", "other")) == 200)
        door.setUsers(["other": try #require(HeldChecks.users["other"])])
        #expect(try status(HeldChecks.basic("prom", "openesame")) == 401)
        let checked = checks.count
        #expect(try status(HeldChecks.basic("other", "other")) == 200)
        #expect(checks.count == checked)
        door.setUsers(["other": try #require(HeldChecks.users["prom"])])
        #expect(try status(HeldChecks.basic("other", "other")) == 401)
        #expect(try status(HeldChecks.basic("other", "openesame")) == 200)
        door.setUsers([:])
        #expect(try status(nil) == 200)
    }

    @Test("a password that is being checked while its user leaves does not let in")
    func reloadDuringCheck() throws {
        let answer = ask(HeldChecks.basic("prom", "openesame"))
        door.setUsers(["other": try #require(HeldChecks.users["other"])])
        checks.answerAll()
        #expect(try answer.wait().status == 401)
    }

    @Test("a password that a reload has made right lets in, while it is still being checked against the old hash")
    func reloadToTheRightPassword() throws {
        door.setUsers(["prom": try #require(HeldChecks.users["other"])])
        let before = ask(HeldChecks.basic("prom", "openesame"))
        door.setUsers(["prom": try #require(HeldChecks.users["prom"])])
        let after = ask(HeldChecks.basic("prom", "openesame"))
        checks.answerAll()
        #expect(try before.wait().status == 401)
        #expect(try after.wait().status == 200)
    }

    @Test("without users everyone is let in")
    func nobody() throws {
        let open = BasicAuth(users: [:], checker: checks, routes: Echo())
        guard case .now(let response) = open.respond(to: Request(path: "/metrics"), on: eventLoop) else {
            Issue.record("not at once")
            return
        }
        #expect(response.status == 200)
    }
}
