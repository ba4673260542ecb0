import HTTP
import NIOCore

/// `/metrics`: every app's metrics as they came, or with `?app=NAME` those apps alone (SPEC §5).
struct MetricsRoute: Route {
    let path = "/metrics"
    let summary = "the metrics of every app; ?app=NAME for one alone"

    let store: MetricStore
    let offload: any Offload
    let clock: @Sendable () -> Moment
    let metrics: SelfMetrics

    func respond(to request: Request, on eventLoop: any EventLoop) -> Answer {
        // A poll of our own answer would hold the one before it, and grow each time.
        if request.instance == ProgramInstance.id { return .now(.text(508, "this is the scrape address of the proxy that polls it")) }
        let now = clock()
        let isCompressed = ContentNegotiation.prefersGzip(request.acceptEncoding)
        let names = request.query.filter { $0.name == "app" }.map(\.value)
        if !names.isEmpty { return respond(withAppsNamed: names, at: now, isCompressed: isCompressed, on: eventLoop) }
        // After many pushes to join their bytes is long work, and so is to compress what has been joined.
        if store.snapshotWork > OffloadThreshold.copiedBytes {
            return offload.answer(on: eventLoop, isLarge: true) { whole(store.snapshot(at: now), at: now, isCompressed: isCompressed) }
        }
        let snapshot = store.snapshot(at: now)
        return offload.answer(on: eventLoop, isLarge: isLarge(snapshot, at: now, isCompressed: isCompressed)) {
            whole(snapshot, at: now, isCompressed: isCompressed)
        }
    }

    private func isLarge(_ snapshot: Snapshot, at now: Moment, isCompressed: Bool) -> Bool {
        guard metrics.isExposed else { return isCompressed && snapshot.uncompressedWork > OffloadThreshold.compressedBytes }
        return metrics.needsReading(at: now) || snapshot.unwrittenApps > OffloadThreshold.apps
            || (isCompressed && snapshot.uncompressedWorkWithAppMetrics > OffloadThreshold.compressedBytes)
    }

    /// The self-metrics come last: first what they say of the apps, which changes with the snapshot, then the rest.
    private func whole(_ snapshot: Snapshot, at now: Moment, isCompressed: Bool) -> Response {
        guard metrics.isExposed else {
            return isCompressed
                ? MetricsRoute.compressed(snapshot.gzipPieces) : MetricsRoute.plain(snapshot.pieces, size: snapshot.size)
        }
        if isCompressed {
            var member = snapshot.gzipMemberWithAppMetrics
            member.append(metrics.segment(limits: store.limits, at: now))
            return MetricsRoute.compressed(member.finished())
        }
        let own = metrics.exposition(limits: store.limits, at: now)
        let appMetrics = snapshot.appMetrics
        return MetricsRoute.plain(
            snapshot.pieces + appMetrics.expositions.map(\.buffer) + [own.buffer], size: snapshot.size + appMetrics.size + own.size)
    }

    private static func plain(_ pieces: [ByteBuffer], size: Int) -> Response {
        Response(status: 200, headers: plainHeaders, body: pieces, contentLength: size)
    }

    private static func compressed(_ member: (pieces: [ByteBuffer], size: Int)) -> Response {
        Response(status: 200, headers: gzipHeaders, body: member.pieces, contentLength: member.size)
    }

    private func respond(
        withAppsNamed names: [String], at now: Moment, isCompressed: Bool, on eventLoop: any EventLoop
    ) -> Answer {
        switch AppSelection(of: names, lookUp: { store.apps(named: $0, at: now) }) {
        case .fresh(let entries):
            let expositions = entries.map(\.exposition)
            guard isCompressed else {
                return .now(MetricsRoute.plain(expositions.map(\.buffer), size: expositions.reduce(0) { $0 + $1.size }))
            }
            let work = expositions.reduce(0) { $0 + ($1.needsCompression ? $1.size : 0) }
            return offload.answer(on: eventLoop, isLarge: work > OffloadThreshold.compressedBytes) {
                MetricsRoute.compressed(GzipMember(expositions.lazy.map(\.segment)).finished())
            }
        case .stale(let entries):
            let reasons = entries.map(whyStale).joined(separator: "; ")
            return .now(.text(503, "no fresh metrics: \(reasons)"))
        case .unknown:
            let list = names.map { PrintableText($0).text }.joined(separator: ", ")
            return .now(.text(404, "no app named \(list); /apps lists them"))
        }
    }

    private func whyStale(_ entry: AppEntry) -> String {
        let name = PrintableText(entry.name.description).text
        return switch entry.state {
        case .ok: "\(name) has not answered yet"
        case .expired: "\(name) has expired: no update since \(entry.lastUpdate?.time.tableText ?? "its start")"
        case .failing(let reason): "\(name) is failing: \(PrintableText(reason).text)"
        }
    }
}

private let plainHeaders: [(name: String, value: String)] = [
    ("Content-Type", "text/plain; version=0.0.4; charset=utf-8"), ("Vary", "Accept-Encoding"), ("X-Content-Type-Options", "nosniff"),
]

private let gzipHeaders = plainHeaders + [("Content-Encoding", "gzip")]
