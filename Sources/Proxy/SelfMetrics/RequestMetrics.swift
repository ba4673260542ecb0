/// HTTP requests answered, by route and status code.
public final class RequestMetrics: Sendable {
    /// Every code that this program answers with.
    static let codes = [200, 204, 400, 401, 403, 404, 405, 406, 408, 411, 413, 414, 417, 421, 431, 500, 501, 503, 505, 508]
    static let other = "other"

    /// Whatever its app is called.
    private static let app = Router.paths.firstIndex(of: "/apps/NAME")

    private let paths: [String]
    /// For each path each code.
    private let counters: [Counter]
    private let labels: [String]

    /// - Parameter paths: the routes.
    init(paths: [String]) {
        self.paths = paths + [Self.other]
        counters = self.paths.flatMap { _ in Self.codes.map { _ in Counter() } }
        labels = self.paths.flatMap { path in Self.codes.map { ExpositionWriter.labels(("path", path), ("code", String($0))) } }
    }

    /// One more request was answered.
    /// - Parameter path: as it was asked for; `nil` when the request could not be read.
    public func count(path: String?, code: Int) {
        let route = path.flatMap { path in paths.firstIndex(of: path) ?? (path.hasPrefix("/apps/") ? Self.app : nil) } ?? paths.count - 1
        guard let code = Self.codes.firstIndex(of: code) else { return }
        counters[route * Self.codes.count + code].increment()
    }

    /// What was ever counted, and the successful scrapes in any case.
    var samples: [(labels: String, count: Int)] {
        // Nearly all of them are zero, at each scrape.
        counters.indices.compactMap { index in
            let count = counters[index].value
            return count > 0 || index == 0 ? (labels[index], count) : nil
        }
    }
}
