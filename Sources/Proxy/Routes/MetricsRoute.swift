import HTTP
import NIOCore

/// `/metrics`: the metrics of all apps as they arrived, or with `?app=NAME` only of those apps.
struct MetricsRoute: Route {
    let path = RoutePath.metrics
    let summary = "the metrics of every app; ?app=NAME for one alone"

    let store: MetricStore
    let snapshots: SnapshotSource
    let offload: any Offload
    let clock: @Sendable () -> Moment
    let metrics: SelfMetrics
    /// The compressing and writing that an answer needs first.
    private let preparing = SharedWork<Preparation, Prepared>()

    init(store: MetricStore, snapshots: SnapshotSource, offload: any Offload, clock: @escaping @Sendable () -> Moment, metrics: SelfMetrics)
    {
        self.store = store
        self.snapshots = snapshots
        self.offload = offload
        self.clock = clock
        self.metrics = metrics
    }

    func respond(to request: Request, on eventLoop: any EventLoop) -> Answer {
        let now = clock()
        let isCompressed = ContentNegotiation.prefersGzip(request.acceptEncoding)
        let names = request.query.filter { $0.name == "app" }.map(\.value)
        if !names.isEmpty { return respond(withAppsNamed: names, at: now, isCompressed: isCompressed, on: eventLoop) }
        // Another proxy has series of the same names, which these would hide from Prometheus.
        let form = Form(isCompressed: isCompressed, hasSelfMetrics: metrics.isExposed && request.instance == nil)
        if let snapshot = snapshots.ready(at: now) { return whole(snapshot, form, at: now, on: eventLoop) }
        return snapshots.later(at: now, on: eventLoop) { whole($0, form, at: now, on: eventLoop) }
    }

    // MARK: - All apps

    private struct Form: Hashable {
        var isCompressed: Bool
        var hasSelfMetrics: Bool
    }

    private struct Preparation: Hashable {
        var generation: UInt64
        var form: Form
    }

    /// The part of an answer that depends on the snapshot: everything except the self-metrics that change with each scrape.
    private enum Prepared {
        case plain(SharedPieces)
        case compressed(Snapshot.Compressed)
    }

    private func whole(_ snapshot: Snapshot, _ form: Form, at now: Moment, on eventLoop: any EventLoop) -> Answer {
        if let prepared = quicklyPrepared(snapshot, form, at: now) { return .now(response(prepared, of: snapshot, form, at: now)) }
        let prepared = preparing.value(of: Preparation(generation: snapshot.generation, form: form), on: eventLoop) { work in
            _ = offload.run(on: eventLoop, work)
            return true
        } make: { [self] in
            prepare(snapshot, form, at: now)
        }
        return .later(
            prepared.map { [self] prepared in
                // `nil` only if there was no room for the work; here there always is.
                guard let prepared else { return .text(500, "internal server error") }
                return response(prepared, of: snapshot, form, at: now)
            })
    }

    /// `nil` when it takes more than a millisecond or two, or another thread does it. Never waits.
    private func quicklyPrepared(_ snapshot: Snapshot, _ form: Form, at now: Moment) -> Prepared? {
        guard form.hasSelfMetrics else {
            guard form.isCompressed else { return .plain(snapshot.body) }
            return snapshot.compressed(compressingAtMost: OffloadThreshold.compressedBytes).map(Prepared.compressed)
        }
        guard !metrics.needsReading(at: now),
            let appMetrics = AppMetrics.of(snapshot, metrics.lineGroups, writingAtMost: OffloadThreshold.apps)
        else { return nil }
        guard form.isCompressed else { return .plain(appMetrics.body) }
        return appMetrics.compressed(with: snapshot, compressingAtMost: OffloadThreshold.compressedBytes).map(Prepared.compressed)
    }

    /// May take long.
    private func prepare(_ snapshot: Snapshot, _ form: Form, at now: Moment) -> Prepared {
        guard form.hasSelfMetrics else { return form.isCompressed ? .compressed(snapshot.compressed) : .plain(snapshot.body) }
        metrics.readProcess(at: now)
        let appMetrics = AppMetrics.of(snapshot, metrics.lineGroups)
        return form.isCompressed ? .compressed(appMetrics.compressed(with: snapshot)) : .plain(appMetrics.body)
    }

    /// The self-metrics come last: first those about apps, which change with the snapshot, then the others.
    private func response(_ prepared: Prepared, of snapshot: Snapshot, _ form: Form, at now: Moment) -> Response {
        var whole: SharedPieces
        switch prepared {
        case .plain(let body):
            whole = body
            if form.hasSelfMetrics {
                let own = metrics.exposition(limits: store.limits, at: now).buffer
                whole.pieces.append(own)
                whole.size += own.readableBytes
            }
        case .compressed(var compressed):
            if form.hasSelfMetrics { compressed.member.append(metrics.segment(limits: store.limits, at: now)) }
            whole = compressed.body
        }
        return response(whole, isCompressed: form.isCompressed, instances: snapshot.instances)
    }

    private func response(_ body: SharedPieces, isCompressed: Bool, instances: [String]) -> Response {
        var headers = isCompressed ? gzipHeaders : plainHeaders
        if !instances.isEmpty {
            headers[0].value = ([ProgramInstance.id] + instances).joined(separator: ", ")
        }
        return Response(status: 200, headers: headers, body: body)
    }

    // MARK: - Some apps

    private func respond(
        withAppsNamed names: [String], at now: Moment, isCompressed: Bool, on eventLoop: any EventLoop
    ) -> Answer {
        switch AppSelection(of: names, lookUp: { store.apps(named: $0, at: now) }) {
        case .fresh(let entries):
            let expositions = entries.map(\.exposition)
            let instances = ProgramInstance.union(expositions.lazy.map(\.instances))
            guard isCompressed else {
                var body = SharedPieces()
                for exposition in expositions { body.append(exposition.buffer) }
                return .now(response(body, isCompressed: false, instances: instances))
            }
            let work = expositions.reduce(0) { $0 + ($1.needsCompression ? $1.size : 0) }
            let answer: @Sendable () -> Response = {
                var body = SharedPieces()
                let (pieces, _) = GzipMember(expositions.lazy.map(\.segment)).finished()
                for piece in pieces { body.append(piece) }
                return response(body, isCompressed: true, instances: instances)
            }
            return work > OffloadThreshold.compressedBytes ? .later(offload.run(on: eventLoop, answer)) : .now(answer())
        case .stale(let entries):
            let reasons = entries.map(whyStale).joined(separator: "; ")
            return .now(.text(503, "no fresh metrics: \(reasons)"))
        case .unknown:
            let list = names.map { PrintableText($0).text }.joined(separator: ", ")
            return .now(.text(404, "no app named \(list); /apps lists them"))
        }
    }

    private func whyStale(_ entry: AppEntry) -> String {
        "\(PrintableText(entry.name.description).text) \(entry.sentence)"
    }
}

/// The apps that `?app=` selects: the known ones in order of name, each once.
enum AppSelection {
    /// At least one of them is fresh.
    case fresh([AppEntry])
    /// Known, but none is fresh, so that Prometheus's `up` must be 0.
    case stale([AppEntry])
    /// No app has one of the names.
    case unknown

    /// - Parameter lookUp: returns the known ones of the names, in their order.
    init(of names: [String], lookUp: ([AppName]) -> [AppEntry]) {
        // A text that is not a valid name cannot be that of an app.
        let known = lookUp(Set(names.compactMap(AppName.init)).sorted())
        if known.isEmpty {
            self = .unknown
        } else {
            self = known.contains(where: \.isFresh) ? .fresh(known) : .stale(known)
        }
    }
}

/// `/metrics/self`: only the proxy's own metrics; 404 with `self_metrics = false`.
struct SelfMetricsRoute: Route {
    let path = RoutePath.selfMetrics
    let summary = "the proxy's own metrics alone"

    let store: MetricStore
    let snapshots: SnapshotSource
    let offload: any Offload
    let clock: @Sendable () -> Moment
    let metrics: SelfMetrics

    var isOffered: Bool { metrics.isExposed }

    func respond(to request: Request, on eventLoop: any EventLoop) -> Answer {
        guard isOffered else { return .now(.text(404, "self_metrics in [exporter] is false")) }
        let now = clock()
        let isCompressed = ContentNegotiation.prefersGzip(request.acceptEncoding)
        return snapshots.answer(at: now, on: eventLoop) { [self] snapshot in
            if !metrics.needsReading(at: now),
                let appMetrics = AppMetrics.of(snapshot, metrics.lineGroups, writingAtMost: OffloadThreshold.apps),
                !isCompressed || appMetrics.uncompressedBytes <= OffloadThreshold.compressedBytes
            {
                return .now(response(appMetrics, at: now, isCompressed: isCompressed))
            }
            return .later(
                offload.run(on: eventLoop) {
                    metrics.readProcess(at: now)
                    return response(AppMetrics.of(snapshot, metrics.lineGroups), at: now, isCompressed: isCompressed)
                })
        }
    }

    private func response(_ appMetrics: AppMetrics, at now: Moment, isCompressed: Bool) -> Response {
        let expositions = appMetrics.expositions + [metrics.exposition(limits: store.limits, at: now)]
        var body = SharedPieces()
        if isCompressed {
            let segments = expositions.map { $0.segment }
            for piece in GzipMember(segments).finished().pieces { body.append(piece) }
        } else {
            for exposition in expositions { body.append(exposition.buffer) }
        }
        return Response(status: 200, headers: isCompressed ? gzipHeaders : plainHeaders, body: body)
    }
}

/// The header fields of every answer in text format 0.0.4. The first one lists the proxies whose metrics it contains.
private let plainHeaders: [(name: String, value: String)] = [
    ("X-Exporter-Proxy-Instances", ProgramInstance.id), ("Content-Type", "text/plain; version=0.0.4; charset=utf-8"),
    ("Vary", "Accept-Encoding"), ("X-Content-Type-Options", "nosniff"),
]

private let gzipHeaders = plainHeaders + [("Content-Encoding", "gzip")]

extension Response {
    init(status: Int, headers: [(name: String, value: String)], body: SharedPieces) {
        self.init(status: status, headers: headers, body: body.pieces, contentLength: body.size)
        leases = body.leases
    }
}
