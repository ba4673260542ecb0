import NIOCore
import Synchronization

/// The proxy's own metrics: handles that each part counts on as it works, and their exposition. From any thread.
public final class SelfMetrics: Sendable {
    /// HTTP requests.
    public let requests: RequestMetrics
    /// Readers of answers that were too slow.
    public let cutReaders = CutReaderMetrics()
    /// Reloads of the configuration.
    public let reloads: ReloadMetrics
    /// The state file.
    public let stateFile = StateFileMetrics()
    /// What is held for peers.
    public let held = HeldBytes()
    /// The number of series that are exposed more than once; negative: nothing is known, or series are not checked.
    private let collidingSeries = Atomic(-1)

    /// The label of `build_info`.
    private let versionLabel: String
    private let readLag: @Sendable () -> Duration?
    private let readFigures: @Sendable () -> ProcessFigures?
    /// Whether `/metrics` shows them.
    private let exposed = Atomic(true)
    /// Listeners by name, each with how many use it.
    private let listeners = Mutex<[String: (metrics: ListenerMetrics, users: Int)]>([:])
    private let targets = Mutex<[TargetURL: TargetMetrics]>([:])
    /// The last reading of the process, and when it was taken.
    private let process = Mutex<(figures: ProcessFigures?, instant: Instant)?>(nil)
    /// Held while the process is read, so that one thread does it at a time.
    private let reading = Mutex(())
    /// What the snapshots share of the lines about their apps.
    let lineGroups = LineGroups()
    /// What was written last.
    private let written = Mutex(Written())

    private static let heldLabels = HeldBytes.Kind.allCases.map { (kind: $0, labels: ExpositionWriter.labels(("kind", $0.rawValue))) }

    private struct Written {
        /// The last exposition, and when it was written.
        var last: (exposition: Exposition, instant: Instant)?
        /// Kept, unlike all others: making its memory anew for each scrape would cost more than to compress these few bytes.
        var deflater: Deflater?
    }

    /// The figures of the process are read again when they are older than this.
    private static let processAge = Duration.seconds(1)
    /// All scrapes within this time get the same text, so that thousands of scrapes a second do not write it thousands of times.
    private static let writtenAge = Duration.milliseconds(2)

    /// - Parameters:
    ///   - start: when the configuration was loaded.
    ///   - readLag: the longest delay of an event loop in the last minute; called on event loops.
    ///   - readProcess: may block for a moment; called at most once a second, and never on an event loop.
    public init(
        version: String, start: Timestamp, readLag: @escaping @Sendable () -> Duration? = { nil },
        readProcess: @escaping @Sendable () -> ProcessFigures?
    ) {
        versionLabel = ExpositionWriter.labels(("version", version))
        self.readLag = readLag
        readFigures = readProcess
        requests = RequestMetrics()
        reloads = ReloadMetrics(start: start)
    }

    /// Whether `/metrics` shows them; they are counted all the same.
    public var isExposed: Bool {
        get { exposed.load(ordering: .relaxed) }
        set { exposed.store(newValue, ordering: .relaxed) }
    }

    /// How many series are exposed more than once; `nil` leaves the metric out.
    func setCollidingSeries(_ count: Int?) { collidingSeries.store(count ?? -1, ordering: .relaxed) }

    // MARK: - Handles

    /// What the listener of this name counts, shared with another of that name; each call is ended by one of `remove`.
    public func addListener(_ name: String, _ kind: ListenerMetrics.Kind) -> ListenerMetrics {
        listeners.withLock { listeners in
            if let known = listeners[name], known.metrics.kind == kind {
                listeners[name] = (known.metrics, known.users + 1)
                return known.metrics
            }
            let metrics = ListenerMetrics(name: name, kind: kind)
            listeners[name] = (metrics, 1)
            return metrics
        }
    }

    /// The listener is gone, and with the last of its name the series.
    public func remove(_ listener: ListenerMetrics) {
        listeners.withLock { listeners in
            guard let known = listeners[listener.name], known.metrics === listener else { return }
            listeners[listener.name] = known.users > 1 ? (listener, known.users - 1) : nil
        }
    }

    /// The listeners there are, in order of name.
    public var currentListeners: [ListenerMetrics] {
        listeners.withLock { $0.values.map(\.metrics) }.sorted { $0.name < $1.name }
    }

    /// What the polls of this target count; of a URL that is known the counts go on, under the target's name.
    public func addTarget(_ target: Target) -> TargetMetrics {
        targets.withLock { targets in
            if let known = targets[target.url] {
                known.rename(to: target.name)
                return known
            }
            let metrics = TargetMetrics(name: target.name)
            targets[target.url] = metrics
            return metrics
        }
    }

    /// The target is polled no longer: its series go.
    public func removeTarget(_ url: TargetURL) {
        targets.withLock { $0[url] = nil }
    }

    // MARK: - Exposition

    /// Whether `readProcess` should be called before `exposition`. Never waits.
    func needsReading(at now: Moment) -> Bool {
        !isRecent(process.withLock { $0?.instant }, Self.processAge, at: now)
    }

    /// Reads the figures of the process, unless that was done less than a second ago. Takes up to a few milliseconds: not for an event
    /// loop.
    func readProcess(at now: Moment) {
        reading.withLock { _ in
            guard needsReading(at: now) else { return }
            let figures = readFigures()
            process.withLock { $0 = (figures, now.instant) }
        }
    }

    /// Everything but what is said of single apps, with the figures of the process that were read last; the same for all scrapes
    /// within two milliseconds.
    func exposition(limits: StoreLimits, at now: Moment) -> Exposition {
        written.withLock { current(&$0, limits, at: now) }
    }

    /// `exposition`, compressed.
    func segment(limits: StoreLimits, at now: Moment) -> DeflateSegment {
        written.withLock { written in
            let exposition = current(&written, limits, at: now)
            let deflater = written.deflater ?? Deflater()
            written.deflater = deflater
            return exposition.segment(using: deflater)
        }
    }

    private func current(_ written: inout Written, _ limits: StoreLimits, at now: Moment) -> Exposition {
        if let last = written.last, isRecent(last.instant, Self.writtenAge, at: now) { return last.exposition }
        let figures = process.withLock { $0?.figures }
        let exposition = Exposition(endingInNewline: write(limits: limits, figures))
        written.last = (exposition, now.instant)
        return exposition
    }

    private func isRecent(_ instant: Instant?, _ age: Duration, at now: Moment) -> Bool {
        guard let instant else { return false }
        return now.instant < instant.advanced(by: age)
    }

    private func write(limits: StoreLimits, _ figures: ProcessFigures?) -> ByteBuffer {
        let listeners = currentListeners.map { $0.sample() }
        let targets = targets.withLock { Array($0.values) }.map { $0.sample() }.sorted { $0.name < $1.name }
        var writer = ExpositionWriter(capacity: 6144 + 4096 * listeners.count + 512 * targets.count)
        writer.single(.buildInfo, labels: versionLabel, 1)
        writer.write(reloads.now)
        writer.single(.appsLimit, limits.maxApps)
        writer.single(.storedBytesLimit, limits.maxTotalSize.bytes)
        let colliding = collidingSeries.load(ordering: .relaxed)
        if colliding >= 0 { writer.single(.collidingSeries, colliding) }
        writer.write(listeners)
        writer.write(targets)
        writer.write(.requests, requests.samples)
        writer.write(.slowReadersCut, cutReaders.samples)
        writer.writeTLS(listeners)
        writer.write(.heldBytes, Self.heldLabels.map { ($0.labels, held[$0.kind].used) })
        if let state = stateFile.now { writer.write(state) }
        if let lag = readLag() {
            writer.begin(.eventLoopLag)
            writer.sample(.eventLoopLag, nanoseconds: Int64(lag / .nanoseconds(1)))
        }
        if let figures { writer.write(figures) }
        return writer.buffer
    }
}

extension ExpositionWriter {
    fileprivate mutating func write(_ reloads: ReloadMetrics.State) {
        single(.reloadSuccessful, reloads.last?.error == nil ? 1 : 0)
        begin(.reloadSuccessTime)
        sample(.reloadSuccessTime, nanoseconds: reloads.lastSuccess.nanoseconds)
        begin(.reloads)
        sample(.reloads, labels: #"{result="success"}"#, reloads.successes)
        sample(.reloads, labels: #"{result="failure"}"#, reloads.failures)
    }

    fileprivate mutating func write(_ state: StateFileMetrics.State) {
        if let lastWrite = state.lastWrite {
            begin(.stateLastWrite)
            sample(.stateLastWrite, nanoseconds: lastWrite.nanoseconds)
        }
        single(.stateSuccessful, state.isSuccessful ? 1 : 0)
        begin(.stateWrites)
        sample(.stateWrites, labels: #"{result="success"}"#, state.successes)
        sample(.stateWrites, labels: #"{result="failure"}"#, state.failures)
    }

    fileprivate mutating func write(_ listeners: [ListenerMetrics.Sample]) {
        write(.connections, listeners.map { ($0.labels, $0.connections) })
        write(.connectionsRejected, listeners.map { ($0.labels, $0.rejectedConnections) })
        write(.received, listeners.flatMap(\.received))
        write(.rejected, listeners.flatMap(\.rejected))
    }

    fileprivate mutating func write(_ targets: [TargetMetrics.Sample]) {
        let polled = targets.filter { $0.duration != nil }
        write(.pollUp, polled.map { ($0.labels.target, $0.isUp ? 1 : 0) })
        if !polled.isEmpty {
            begin(.pollDuration)
            for target in polled { sample(.pollDuration, labels: target.labels.target, nanoseconds: target.duration ?? 0) }
        }
        write(.polls, targets.flatMap { [($0.labels.success, $0.successes), ($0.labels.failure, $0.failures)] })
        write(
            .pollCertificateNotAfter,
            targets.compactMap { target in target.certificateNotAfter.map { (target.labels.target, Int($0)) } })
    }

    fileprivate mutating func writeTLS(_ listeners: [ListenerMetrics.Sample]) {
        write(.handshakes, listeners.flatMap(\.handshakes))
        write(.handshakeFailures, listeners.flatMap(\.failures))
        write(
            .certificateNotAfter,
            listeners.compactMap { listener in listener.certificateNotAfter.map { (listener.labels, Int($0)) } })
        write(.crlNextUpdate, listeners.compactMap { listener in listener.revocationsEnd.map { (listener.labels, Int($0)) } })
    }

    fileprivate mutating func write(_ figures: ProcessFigures) {
        begin(.cpuSeconds)
        sample(.cpuSeconds, nanoseconds: figures.cpuNanoseconds)
        single(.openFiles, figures.openFiles)
        single(.maxFiles, figures.maxFiles)
        single(.virtualMemory, figures.virtualBytes)
        single(.residentMemory, figures.residentBytes)
        begin(.startTime)
        sample(.startTime, nanoseconds: figures.startTime.nanoseconds)
        single(.threads, figures.threads)
    }

    /// A family without samples is left out.
    fileprivate mutating func write(_ family: MetricFamily, _ samples: [(labels: String, count: Int)]) {
        guard !samples.isEmpty else { return }
        begin(family)
        for sample in samples { self.sample(family, labels: sample.labels, sample.count) }
    }
}
