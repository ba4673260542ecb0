import Exposition
import NIOCore
import Testing

@testable import Proxy

@Suite("/collisions")
struct CollisionsRouteTests {
    private let some = Collisions(
        count: 150, listed: [Collisions.Series(text: "go_goroutines", apps: ["a", "b\"c"], times: 2)])

    @Test("as text: how many, what to do, and the series with their apps")
    func text() {
        #expect(
            String(buffer: CollisionsRoute.text(of: some)) == """
                150 series are exposed more than once; Prometheus keeps one sample of each. To tell apps apart, set app_label in [metrics].
                The first 1:

                go_goroutines
                    2 times, by: a, b"c

                """)
        #expect(String(buffer: CollisionsRoute.text(of: Collisions.none)) == "no series is exposed more than once\n")
        #expect(String(buffer: CollisionsRoute.text(of: .uncounted)).hasPrefix("not counted: "))
        #expect(String(buffer: CollisionsRoute.text(of: nil)) == "series have not been compared yet\n")
    }

    @Test("app_label is not recommended for series that one app exposes twice")
    func oneApp() {
        let collisions = Collisions(count: 1, listed: [Collisions.Series(text: "a", apps: ["dead"], times: 2)])
        #expect(
            String(buffer: CollisionsRoute.text(of: collisions)) == """
                1 series is exposed more than once; Prometheus keeps one sample of each.

                a
                    2 times, by: dead

                """)
    }

    @Test("where app_label is set, it is not recommended: what has no label yet is named")
    func labelled() {
        let text = String(buffer: CollisionsRoute.text(of: some, hasAppLabel: true))
        #expect(!text.contains("set app_label"))
        #expect(text.contains(" one sample of each. Series of several apps have no app_label: their metrics are invalid, or came before"))
        let collisions = Collisions(count: 1, listed: [Collisions.Series(text: "a", apps: ["dead"], times: 2)])
        #expect(!String(buffer: CollisionsRoute.text(of: collisions, hasAppLabel: true)).contains("app_label"))
    }

    @Test("the names of the apps end in an ellipsis, and the JSON says more_apps, only if some are left out", arguments: [20, 21])
    func manyApps(count: Int) {
        var search = CollisionSearch()
        let text = Array("same 1\n".utf8)
        for _ in 1...count { text.withUnsafeBytes { search.count($0) } }
        let isRepeated = search.endCount()
        #expect(isRepeated)
        for index in 1...count { text.withUnsafeBytes { search.list($0, of: "c\(index)") } }
        #expect(String(buffer: CollisionsRoute.json(of: search.result)).contains("\"c20\"], \"more_apps\": \(count > 20)}"))
        let lines = String(buffer: CollisionsRoute.text(of: search.result)).split(separator: "\n")
        #expect(lines.last?.hasPrefix("    \(count) times, by: c1, ") == true)
        #expect(lines.last?.hasSuffix(count == 20 ? ", c20" : ", c20, …") == true)
    }

    @Test("as JSON")
    func json() {
        #expect(
            String(buffer: CollisionsRoute.json(of: some))
                == """
                {"count": 150, "state": "ok", "collisions": [
                {"series": "go_goroutines", "times": 2, "apps": ["a", "b\\"c"], "more_apps": false}
                ]}

                """)
        #expect(String(buffer: CollisionsRoute.json(of: Collisions.none)) == "{\"count\": 0, \"state\": \"ok\", \"collisions\": []}\n")
        #expect(
            String(buffer: CollisionsRoute.json(of: .uncounted))
                == "{\"count\": null, \"state\": \"too many series\", \"collisions\": []}\n")
        #expect(String(buffer: CollisionsRoute.json(of: nil)) == "{\"count\": null, \"state\": \"waiting\", \"collisions\": []}\n")
    }

    @Test("404 while metrics are not checked")
    func off() throws {
        let side = ScrapeSide()
        #expect(try side.send("GET", "/collisions").text == "series have not been compared yet\n")
        side.checker.setValidation(.off)
        #expect(try side.send("GET", "/collisions").status == 404)
    }
}
