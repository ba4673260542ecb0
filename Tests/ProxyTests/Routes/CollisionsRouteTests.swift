import Exposition
import HTTP
import NIOCore
import NIOEmbedded
import Testing

@testable import Proxy

@Suite("/collisions")
struct CollisionsRouteTests {
    private let some = Collisions(
        count: 150, listed: [Collisions.Series(text: "go_goroutines", apps: ["a", "b\"c"], times: 2)])

    private func text(of collisions: Collisions?, hasAppLabel: Bool = false) -> String {
        joined(CollisionsDocument(of: collisions).text(hasAppLabel: hasAppLabel))
    }

    private func json(of collisions: Collisions?) -> String { joined(CollisionsDocument(of: collisions).json) }

    private func joined(_ body: SharedPieces) -> String { body.pieces.map { String(buffer: $0) }.joined() }

    @Test("as text: how many, what to do, and the series with their apps")
    func text() {
        #expect(
            text(of: some) == """
                150 series are exposed more than once; Prometheus keeps one sample of each. To tell apps apart, set app_label in [metrics].
                The first 1:

                go_goroutines
                    2 times, by: a, b"c

                """)
        #expect(text(of: Collisions.none) == "no series is exposed more than once\n")
        #expect(text(of: .uncounted).hasPrefix("not counted: "))
        #expect(text(of: nil) == "series have not been compared yet\n")
    }

    @Test("app_label is not recommended for series that one app exposes twice")
    func oneApp() {
        let collisions = Collisions(count: 1, listed: [Collisions.Series(text: "a", apps: ["dead"], times: 2)])
        #expect(
            text(of: collisions) == """
                1 series is exposed more than once; Prometheus keeps one sample of each.

                a
                    2 times, by: dead

                """)
    }

    @Test("where app_label is set, it is not recommended: what has no label yet is named")
    func labelled() {
        let shown = text(of: some, hasAppLabel: true)
        #expect(!shown.contains("set app_label"))
        #expect(shown.contains(" one sample of each. Series of several apps have no app_label: their metrics are invalid, or came before"))
        let collisions = Collisions(count: 1, listed: [Collisions.Series(text: "a", apps: ["dead"], times: 2)])
        #expect(!text(of: collisions, hasAppLabel: true).contains("app_label"))
    }

    @Test("the names of the apps end in an ellipsis, and the JSON says more_apps, only if some are left out", arguments: [20, 21])
    func manyApps(count: Int) {
        var search = CollisionSearch()
        let sample = Array("same 1\n".utf8)
        for _ in 1...count { sample.withUnsafeBytes { search.count($0) } }
        let isRepeated = search.endCount()
        #expect(isRepeated)
        for index in 1...count { sample.withUnsafeBytes { search.list($0, of: "c\(index)") } }
        #expect(json(of: search.result).contains("\"c20\"], \"more_apps\": \(count > 20)}"))
        let lines = text(of: search.result).split(separator: "\n")
        #expect(lines.last?.hasPrefix("    \(count) times, by: c1, ") == true)
        #expect(lines.last?.hasSuffix(count == 20 ? ", c20" : ", c20, …") == true)
    }

    @Test("as JSON")
    func json() {
        #expect(
            json(of: some)
                == """
                {"count": 150, "state": "ok", "collisions": [
                {"series": "go_goroutines", "times": 2, "apps": ["a", "b\\"c"], "more_apps": false}
                ]}

                """)
        #expect(json(of: Collisions.none) == "{\"count\": 0, \"state\": \"ok\", \"collisions\": []}\n")
        #expect(
            json(of: .uncounted)
                == "{\"count\": null, \"state\": \"too many series\", \"collisions\": []}\n")
        #expect(json(of: nil) == "{\"count\": null, \"state\": \"waiting\", \"collisions\": []}\n")
    }

    @Test("it is written once, when the search ends, and all answers share it", arguments: ["/collisions", "/collisions?format=json"])
    func shared(target: String) throws {
        let side = ScrapeSide()
        try side.push([("a", "same 1\n"), ("b", "same 1\n")])
        let start = side.now.moment.instant
        side.checker.collect(at: start)
        while case .done = side.checker.next(at: start.advanced(by: MetricsChecker.searchDelay)) {}
        let request = try Request(RequestHead(method: .get, target: target), isTLS: false, peer: .unknown)
        let leases = try (0..<2).map { _ -> PieceLease in
            guard case .now(let response) = CollisionsRoute(checker: side.checker).respond(to: request, on: EmbeddedEventLoop()) else {
                throw CancellationError()
            }
            #expect(response.body.contains { String(buffer: $0).contains("same") })
            return try #require(response.leases.compactMap { $0 }.last)
        }
        #expect(leases[0] === leases[1])
    }

    @Test("404 while metrics are not checked")
    func off() throws {
        let side = ScrapeSide()
        #expect(try side.send("GET", "/collisions").text == "series have not been compared yet\n")
        side.checker.setValidation(.off)
        #expect(try side.send("GET", "/collisions").status == 404)
    }
}
