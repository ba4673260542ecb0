import NIOCore
import Synchronization

/// The proxy's own metrics: the counters of each part, and their text. Used from any thread.
public final class SelfMetrics: Sendable {
    /// HTTP requests on the scrape side.
    public let requests: RequestMetrics
    /// Connections that were closed because the reader was too slow.
    public let cutReaders = CutReaderMetrics()
    /// Reloads of the configuration.
    public let reloads: ReloadMetrics
    /// Writes of the state file.
    public let stateFile = StateFileMetrics()
    /// The memory that is held for peers.
    public let held = HeldBytes()
    /// The number of series that are exposed more than once; negative while it is unknown, or when collisions are not searched for.
    private let collidingSeries = Atomic(-1)

    /// The label of `build_info`.
    private let versionLabel: String
    private let readLag: @Sendable () -> Duration?
    private let readFigures: @Sendable () -> ProcessFigures?
    private let exposed = Atomic(true)
    private let listeners = Mutex(Listeners())
    private let targets = Mutex<[TargetURL: TargetMetrics]>([:])
    /// The last figures of the process, and when they were read.
    private let process = Mutex<(figures: ProcessFigures?, instant: Instant)?>(nil)
    /// Locked while the figures are read, so that only one thread reads them.
    private let reading = Mutex(())
    /// The lines about apps that snapshots share.
    let lineGroups = LineGroups()
    /// The last text, and what the next one reuses.
    private let written = Mutex(Written())

    private static let heldLabels = HeldBytes.Kind.allCases.map { (kind: $0, labels: ExpositionWriter.labels(("kind", $0.rawValue))) }

    private struct Listeners {
        /// In order of name, and those of one name as they were added; each with the number of its users.
        var all: [(metrics: ListenerMetrics, users: Int)] = []
        /// Changes whenever a listener comes or goes.
        var version = 0

        /// One for each name: a reload that moves addresses opens a listener while another one still has its name.
        var exposed: [ListenerMetrics] {
            all.indices.filter { $0 + 1 == all.count || all[$0 + 1].metrics.name != all[$0].metrics.name }.map { all[$0].metrics }
        }
    }

    private struct Written {
        /// The last text, and when it was written.
        var last: (exposition: Exposition, instant: Instant)?
        /// Kept between scrapes, because allocating it costs more than compressing these few bytes.
        var deflater: Deflater?
        var lines: ListenerLines?
    }

    /// Figures of the process that are older than this are read again.
    private static let processAge = Duration.seconds(1)
    /// All scrapes within this time get the same text. Otherwise thousands of scrapes a second would write it thousands of times.
    private static let writtenAge = Duration.milliseconds(2)

    /// - Parameters:
    ///   - start: when the configuration was loaded.
    ///   - readLag: returns the longest delay of an event loop in the last minute; called on event loops.
    ///   - readProcess: reads the figures of the process; it may block for a moment. Called at most once a second, never on an event loop.
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

    /// Whether `/metrics` contains them. They are counted in any case.
    public var isExposed: Bool {
        get { exposed.load(ordering: .relaxed) }
        set { exposed.store(newValue, ordering: .relaxed) }
    }

    /// - Parameter count: the number of series that are exposed more than once; `nil` leaves the metric out.
    func setCollidingSeries(_ count: Int?) { collidingSeries.store(count ?? -1, ordering: .relaxed) }

    // MARK: - Counters of listeners and targets

    /// The counters of the listener with this name. Listeners with the same name and kind share them. Of several kinds, those that were
    /// added last are exposed, until they are removed. Each call needs one call of `remove`.
    public func addListener(_ name: String, _ kind: ListenerMetrics.Kind) -> ListenerMetrics {
        listeners.withLock { listeners in
            var added = (metrics: ListenerMetrics(name: name, kind: kind), users: 1)
            if let known = listeners.all.firstIndex(where: { $0.metrics.name == name && $0.metrics.kind == kind }) {
                added = listeners.all.remove(at: known)
                added.users += 1
            }
            let place = listeners.all.firstIndex { $0.metrics.name > name } ?? listeners.all.count
            listeners.all.insert(added, at: place)
            listeners.version += 1
            return added.metrics
        }
    }

    /// Ends one use of the counters. With the last use, their series are no longer exposed.
    public func remove(_ listener: ListenerMetrics) {
        listeners.withLock { listeners in
            guard let place = listeners.all.firstIndex(where: { $0.metrics === listener }) else { return }
            listeners.all[place].users -= 1
            guard listeners.all[place].users == 0 else { return }
            listeners.all.remove(at: place)
            listeners.version += 1
        }
    }

    /// The counters of the target's polls. For a known URL they continue, under the target's name.
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

    /// The target is no longer polled, and its series are no longer exposed.
    public func removeTarget(_ url: TargetURL) {
        targets.withLock { $0[url] = nil }
    }

    // MARK: - Text

    /// The counters of all listeners, in order of name.
    public var currentListeners: [ListenerMetrics] { listeners.withLock(\.exposed) }

    /// Whether `readProcess` should be called before `exposition`. Never waits.
    func needsReading(at now: Moment) -> Bool {
        !isRecent(process.withLock { $0?.instant }, Self.processAge, at: now)
    }

    /// Reads the figures of the process if they are older than a second. It takes up to a few milliseconds, so it must not run on an
    /// event loop.
    func readProcess(at now: Moment) {
        reading.withLock { _ in
            guard needsReading(at: now) else { return }
            let figures = readFigures()
            process.withLock { $0 = (figures, now.instant) }
        }
    }

    /// The metrics of the program, without those of single apps, with the last figures of the process. Scrapes within two milliseconds
    /// share it.
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
        var lines = currentLines(reusing: written.lines.take())
        let exposition = Exposition(endingInNewline: write(limits: limits, &lines))
        written.lines = lines
        written.last = (exposition, now.instant)
        return exposition
    }

    private func currentLines(reusing earlier: consuming ListenerLines?) -> ListenerLines {
        listeners.withLock { listeners in
            if let earlier, earlier.version == listeners.version { return earlier }
            return ListenerLines(of: listeners.exposed, version: listeners.version)
        }
    }

    private func isRecent(_ instant: Instant?, _ age: Duration, at now: Moment) -> Bool {
        guard let instant else { return false }
        return now.instant < instant.advanced(by: age)
    }

    private func write(limits: StoreLimits, _ lines: inout ListenerLines) -> ByteBuffer {
        let targets = targets.withLock { Array($0.values) }.map { $0.sample() }.sorted { $0.name < $1.name }
        var writer = ExpositionWriter(capacity: 6144 + 4096 * lines.listeners.count + 512 * targets.count)
        writer.single(.buildInfo, labels: versionLabel, 1)
        writer.write(reloads.now)
        writer.single(.appsLimit, limits.maxApps)
        writer.single(.storedBytesLimit, limits.maxTotalSize.bytes)
        let colliding = collidingSeries.load(ordering: .relaxed)
        if colliding >= 0 { writer.single(.collidingSeries, colliding) }
        lines.writeConnectionsAndMessages(to: &writer)
        writer.write(targets)
        requests.write(to: &writer)
        writer.write(.slowReadersCut, cutReaders.samples)
        lines.writeTLS(to: &writer)
        writer.begin(.heldBytes)
        for (kind, labels) in Self.heldLabels { writer.sample(.heldBytes, labels: labels, held[kind].used) }
        if let state = stateFile.now { writer.write(state) }
        if let lag = readLag() {
            writer.begin(.eventLoopLag)
            writer.sample(.eventLoopLag, nanoseconds: lag.wholeNanoseconds)
        }
        if let figures = process.withLock({ $0?.figures }) { writer.write(figures) }
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

    /// Writes a family, or nothing when it has no samples.
    mutating func write(_ family: OwnFamily, _ samples: [(labels: String, value: Int)]) {
        guard !samples.isEmpty else { return }
        begin(family)
        for sample in samples { self.sample(family, labels: sample.labels, sample.value) }
    }
}
