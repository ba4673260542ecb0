import Testing

@testable import Services

@Suite("KeptConnection")
struct KeptConnectionTests {
    private final class Connection {}
    private typealias Kept = KeptConnection<Connection, String>

    private func kept(targets: Int) -> Kept {
        let kept = Kept()
        for _ in 0..<targets { kept.join() }
        return kept
    }

    private func used(_ beginning: Kept.Beginning) -> Connection? { if case .use(let connection) = beginning { connection } else { nil } }

    private func closed(_ beginning: Kept.Beginning) -> Connection? {
        if case .open(let connection) = beginning { connection } else { nil }
    }

    @Test("a connection serves one target after another")
    func shared() {
        let kept = kept(targets: 2)
        let connection = Connection()
        #expect(used(kept.begin("a")) == nil)
        #expect(kept.end(connection, "a") == nil)
        for _ in 0..<3 {
            #expect(used(kept.begin("a")) === connection)
            #expect(kept.end(connection, "a") == nil)
        }
    }

    @Test("while one target polls, another opens its own, and the one that ends first is closed")
    func apart() {
        let kept = kept(targets: 2)
        let (first, second) = (Connection(), Connection())
        _ = kept.begin("a")
        #expect(kept.end(first, "a") == nil)
        #expect(used(kept.begin("a")) === first)
        let beginning = kept.begin("a")
        #expect(used(beginning) == nil && closed(beginning) == nil)
        // A server of one connection at a time would serve the second only now.
        #expect(kept.end(first, "a") === first)
        #expect(kept.end(second, "a") == nil)
        #expect(used(kept.begin("a")) === second)
    }

    @Test("a target that cannot use the idle connection has it closed")
    func otherTerms() {
        let kept = kept(targets: 2)
        let connection = Connection()
        for terms in ["b", nil] {
            _ = kept.begin("a")
            #expect(kept.end(connection, "a") == nil)
            #expect(closed(kept.begin(terms)) === connection)
            #expect(kept.end(nil, terms ?? "") == nil)
            #expect(closed(kept.begin("a")) == nil)
            _ = kept.end(nil, "a")
        }
    }

    @Test("the last target of an origin takes the connection along")
    func leaving() {
        let kept = kept(targets: 2)
        let connection = Connection()
        _ = kept.begin("a")
        #expect(kept.end(connection, "a") == nil)
        #expect(kept.leave() == nil)
        #expect(kept.leave() === connection)
        #expect(kept.isUnused)
        // A poll that ends after its target has left keeps nothing.
        kept.join()
        _ = kept.begin("a")
        _ = kept.leave()
        #expect(kept.end(connection, "a") === connection)
    }
}
