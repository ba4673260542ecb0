import Testing

@testable import Proxy

@Suite("Poll")
struct PollTests {
    private let target = TargetURL(origin: .http(host: "a", port: 9100), pathAndQuery: "/metrics")

    private func words(_ action: Poll.Action) -> String {
        switch action {
        case .ask(let hop, let mayUseKept):
            "ask \(hop.url)\(hop.isTrusted ? "" : " as a stranger")\(mayUseKept ? "" : " on a new connection")"
        case .end(.success): "end with a body"
        case .end(.failure(let failure)): "end: \(failure)"
        }
    }

    private var body: PolledAnswer.Result {
        get throws { .body(try PolledBody(coding: .identity, expected: nil, limit: .kibibytes(1), budget: ByteBudget())) }
    }

    @Test("a poll asks the target, and ends with its answer")
    func simple() throws {
        var poll = Poll(of: target)
        #expect(words(poll.start()) == "ask http://a:9100/metrics")
        poll.asks(onKeptConnection: false, reaching: .network)
        #expect(words(poll.answered(try body, cameNothing: false)) == "end with a body")
        #expect(words(poll.answered(.failure(.nulByte), cameNothing: false)) == "end: body holds a NUL byte")
    }

    @Test("a kept connection that ended without a byte is tried again, once, on a new one")
    func again() {
        let ended = PolledAnswer.Result.failure(.connectionEnded(.awaitingHead, reason: nil))
        var poll = Poll(of: target)
        poll.asks(onKeptConnection: true, reaching: .network)
        #expect(words(poll.answered(ended, cameNothing: true)) == "ask http://a:9100/metrics on a new connection")
        poll.asks(onKeptConnection: false, reaching: .network)
        #expect(words(poll.answered(ended, cameNothing: true)).hasPrefix("end: connection closed by the target"))
        poll.asks(onKeptConnection: true, reaching: .network)
        #expect(words(poll.answered(ended, cameNothing: false)).hasPrefix("end: connection closed by the target"))
    }

    @Test("redirects lead on, away from credentials once they leave the origin")
    func redirects() {
        var poll = Poll(of: target)
        poll.asks(onKeptConnection: true, reaching: .network)
        #expect(words(poll.answered(.redirect(location: "/b"), cameNothing: false)) == "ask http://a:9100/b")
        poll.asks(onKeptConnection: true, reaching: .network)
        #expect(words(poll.answered(.redirect(location: "http://b/c"), cameNothing: false)) == "ask http://b:80/c as a stranger")
        poll.asks(onKeptConnection: false, reaching: .network)
        #expect(words(poll.answered(.redirect(location: "http://a:9100/"), cameNothing: false)) == "ask http://a:9100/ as a stranger")
        poll.asks(onKeptConnection: false, reaching: .network)
        #expect(words(poll.answered(.redirect(location: "ftp://b"), cameNothing: false)).hasPrefix("end: redirect not followed"))
    }

    @Test("a time-out says what was waited for")
    func timedOut() {
        var poll = Poll(of: target)
        #expect(poll.timedOut(after: .seconds(2), nil).description == "timed out after 2s while connecting")
        poll.entered(.resolving)
        #expect(poll.timedOut(after: .seconds(2), nil).description == "timed out after 2s while resolving the host name")
        #expect(poll.timedOut(after: .seconds(2), .readingBody).description == "timed out after 2s while reading the body")
    }
}

@Suite("Redirects to addresses of this host and its link")
struct AddressReachTests {
    private static let mapped: [UInt8] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF]

    @Test(
        "how far an address reaches",
        arguments: [
            ([127, 0, 0, 1], .host), ([127, 255, 255, 255], .host), ([0, 0, 0, 0], .host), ([169, 254, 169, 254], .link),
            ([169, 253, 1, 1], .network), ([10, 0, 0, 1], .network), ([192, 168, 1, 1], .network), ([126, 0, 0, 1], .network),
            ([UInt8](repeating: 0, count: 15) + [1], .host), ([UInt8](repeating: 0, count: 16), .host),
            ([UInt8](repeating: 0, count: 15) + [2], .network), ([0xFE, 0x80] + [UInt8](repeating: 0, count: 13) + [1], .link),
            ([0xFE, 0xBF] + [UInt8](repeating: 0, count: 14), .link), ([0xFE, 0xC0] + [UInt8](repeating: 0, count: 14), .network),
            (mapped + [127, 0, 0, 1], .host), (mapped + [169, 254, 0, 1], .link), (mapped + [8, 8, 8, 8], .network),
            ([0x20, 0x01] + [UInt8](repeating: 0, count: 14), .network),
        ] as [([UInt8], AddressReach)])
    func reach(bytes: [UInt8], expected: AddressReach) {
        #expect(AddressReach(address: bytes) == expected)
    }

    /// Whether a redirect to another origin may lead to an address of this kind, after servers at `way` have answered.
    private func allows(_ reach: AddressReach, after way: AddressReach...) throws -> Bool {
        var redirects = RedirectPolicy(target: TargetURL(origin: .http(host: "h0", port: 80), pathAndQuery: "/"))
        for (index, reach) in way.enumerated() {
            redirects.reached(reach)
            _ = try redirects.follow("http://h\(index + 1)/")
        }
        return redirects.current.allows(reach)
    }

    @Test("a redirect leads to this host, or its link, only from there")
    func onlyFromThere() throws {
        for reach in [AddressReach.host, .link, .network] {
            #expect(try allows(reach, after: .host))
            #expect(try allows(reach, after: .link) == (reach != .host))
            #expect(try allows(reach, after: .network) == (reach == .network))
        }
    }

    @Test("one server elsewhere on the way is enough to refuse")
    func onTheWay() throws {
        #expect(try allows(.host, after: .host, .host))
        #expect(try !allows(.host, after: .host, .network))
        #expect(try !allows(.host, after: .network, .host))
        #expect(try !allows(.link, after: .host, .network, .host))
    }

    @Test("the target's own origin is asked wherever it is")
    func own() throws {
        var redirects = RedirectPolicy(target: TargetURL(origin: .http(host: "h0", port: 80), pathAndQuery: "/"))
        redirects.reached(.network)
        #expect(redirects.current.allows(.host))
        #expect(try redirects.follow("/other").allows(.host))
    }
}
