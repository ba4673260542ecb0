import Exposition
import Testing

@Suite("Series that collide")
struct CollisionSearchTests {
    private func search(_ texts: KeyValuePairs<String, String>, maxSeries: Int = CollisionSearch.maxSeries) -> Collisions {
        var search = CollisionSearch(maxSeries: maxSeries)
        for (_, text) in texts { Array(text.utf8).withUnsafeBytes { search.count($0) } }
        guard search.endCount() else { return search.result }
        for (app, text) in texts { Array(text.utf8).withUnsafeBytes { search.list($0, of: app) } }
        return search.result
    }

    @Test("series of two apps, and of one app twice, in the order of the texts")
    func found() {
        let result = search([
            "a": "x 1\ngo_goroutines 7\nhttp{code=\"200\",path=\"/\"} 1\n",
            "b": "y 1\ngo_goroutines 8\nhttp{ path=\"/\", code=\"200\"} 1\n",
            "c": "go_goroutines 9\nz{a=\"1\"} 1\nz{a=\"2\"} 1\nz{a=\"1\",b=\"\"} 2\n",
        ])
        #expect(
            result
                == Collisions(
                    count: 3,
                    listed: [
                        Collisions.Series(text: "go_goroutines", apps: ["a", "b", "c"], times: 3),
                        Collisions.Series(text: "http{code=\"200\",path=\"/\"}", apps: ["a", "b"], times: 2),
                        Collisions.Series(text: "z{a=\"1\"}", apps: ["c"], times: 2),
                    ]))
    }

    @Test("no collision among different series; lines that cannot be read are left out")
    func none() {
        #expect(search(["a": "x 1\ny{a=\"1\"} 1\n", "b": "y{a=\"2\"} 1\ny 1\n"]) == .none)
        #expect(search(["a": "x 1,5\nz 1\n", "b": "x 1,5\n"]) == .none)
        #expect(search([:]) == .none)
    }

    @Test("a quoted name is the same series")
    func quoted() {
        #expect(search(["a": "{\"x\",a=\"b\"} 1\n", "b": "x{a=\"b\"} 1\n"]).listed.map(\.text) == ["{\"x\",a=\"b\"}"])
    }

    @Test("series are compared as Prometheus 3 reads them: bounds of typed families are numbers, and blanks before a name are part of it")
    func asPrometheus() {
        let histogram = "# TYPE h histogram\nh_bucket{le=\"1\"} 1\n"
        #expect(search(["a": histogram, "b": "# TYPE h histogram\nh_bucket{le=\"1.0\"} 1\n"]).count == 1)
        #expect(search(["a": histogram, "b": "h_bucket{le=\"1.0\"} 1\n"]) == .none)
        #expect(search(["a": histogram, "b": "# TYPE h summary\nh_bucket{le=\"1.0\"} 1\n"]) == .none)
        let summary = "# TYPE s summary\ns{quantile=\"0.50\"} 1\n"
        #expect(search(["a": summary, "b": "# TYPE s summary\ns{quantile=\"5e-1\"} 1\n"]).count == 1)
        #expect(search(["a": " blank 1\n", "b": "blank 1\n"]) == .none)
        #expect(search(["a": " blank 1\n", "b": " blank 1\n"]).count == 1)
        // Both have it, whatever their timestamps are.
        #expect(search(["a": "x 1 1\n", "b": "x 2 2\n"]).count == 1)
    }

    @Test("a series of more than 1024 bytes is cut between two characters, and ends in an ellipsis")
    func longSeries() {
        func listed(_ start: String, characters: Int) -> [String] {
            let text = start + String(repeating: "é", count: characters) + "\"} 1\n"
            return search(["a": text, "b": text]).listed.map(\.text)
        }
        // 6, 2 × 508 and 2 bytes.
        #expect(listed("x{ab=\"", characters: 508) == ["x{ab=\"" + String(repeating: "é", count: 508) + "\"}"])
        // The last é has the bytes 1023 and 1024, from 0.
        #expect(listed("x{a=\"", characters: 510) == ["x{a=\"" + String(repeating: "é", count: 509) + "…"])
    }

    @Test("a hundred are listed, all are counted, and at most twenty apps of each are named")
    func limits() {
        let many = (0..<150).map { "s\($0) 1\n" }.joined()
        let result = search(["a": many, "b": many])
        #expect(result.count == 150 && result.listed.count == 100 && result.listed.last?.text == "s99")
        var apps = CollisionSearch()
        for _ in 0..<30 { Array("x 1\n".utf8).withUnsafeBytes { apps.count($0) } }
        let hasCollisions = apps.endCount()
        #expect(hasCollisions)
        for app in 0..<30 { Array("x 1\n".utf8).withUnsafeBytes { apps.list($0, of: "a\(app)") } }
        #expect(apps.result.listed.first?.apps.count == 20 && apps.result.listed.first?.times == 30)
    }

    @Test("more series than can be compared are not counted")
    func tooMany() {
        #expect(search(["a": "x 1\nx 2\n"], maxSeries: 2).count == 1)
        #expect(search(["a": "x 1\nx 2\nx 3\n"], maxSeries: 2) == .uncounted)
    }
}
