public import Exposition
import NIOCore
import Synchronization

/// Checks the metrics of apps after they are stored: finds faults for `/apps`, and series that collide.
///
/// One thread calls `collect` and then `next` repeatedly. Any thread may call everything else. Each step handles one text, so that the
/// caller can spread the work over time.
public final class MetricsChecker: Sendable {
    /// A result of a step for the log.
    public enum Event: Equatable, Sendable {
        /// The app was valid or not checked before. `error` is the first error.
        case becameInvalid(AppName, error: String)
        /// The app was invalid before.
        case becameValid(AppName)
        /// No series collided before. `example` is one of the series, `apps` are two of its apps.
        case collisionsBegan(count: Int, example: String, apps: [String])
        /// No series collides any more.
        case collisionsEnded
    }

    /// The result of a step.
    public enum Step: Equatable, Sendable {
        /// There was something to do.
        case done(Event?)
        /// There is nothing to do yet.
        case idle
    }

    /// An app is checked at most once in this time.
    static let checkInterval = Duration.seconds(1)
    /// A search for collisions begins at most once in this time.
    static let searchInterval = Duration.seconds(60)
    /// A search begins this long after a change, so that it includes changes that follow closely.
    static let searchDelay = Duration.seconds(2)
    /// How many findings of all apps together are kept; with more apps than this, one for each app.
    static let maxFindings = 20_000
    /// How many apps that were removed may wait, beside twice as many as there are apps.
    private static let removedApps = 4096

    private let store: MetricStore
    private let metrics: SelfMetrics
    private let state = Mutex(State())
    private let isLabelled = Atomic(false)

    fileprivate struct State {
        var validation = MetricsValidation.off
        /// Apps that wait for a check, each once. The first is served first: under a load that is too large for all of them, every app is
        /// checked equally often. `nil` once it no longer waits.
        var waiting: [AppRecord?] = []
        /// The index at which the search for the next due app continues.
        var next = 0
        var search: Search?
        /// Whether the last step was a check.
        var wasCheck = false
        /// When the last search began, and the store's generation at that time.
        var lastSearch: (instant: Instant, generation: UInt64)?
        /// When the first change after the last search was noticed.
        var changed: Instant?
        /// What the last search has found.
        var found = CollisionsDocument(of: nil)
    }

    /// A search for collisions in progress.
    struct Search {
        /// The mode in which it began.
        let validation: MetricsValidation
        let names: [AppName]
        var index = 0
        var isListing = false
        var found = CollisionSearch()
    }

    /// Makes a checker of this store's apps. It does nothing before the first `setValidation`.
    public init(store: MetricStore, metrics: SelfMetrics) {
        self.store = store
        self.metrics = metrics
    }

    /// Sets the mode. With `off` nothing is checked, and the findings are dropped.
    public func setValidation(_ validation: MetricsValidation) {
        let hasChanged = state.withLock { state in
            guard state.validation != validation else { return false }
            let found = state.found
            state = State()
            state.validation = validation
            if validation != .off { state.found = found }
            return true
        }
        guard hasChanged else { return }
        store.setValidation(validation)
        if validation == .off { metrics.setCollidingSeries(nil) } else if collisions == nil { metrics.setCollidingSeries(0) }
    }

    /// What happens to invalid metrics.
    public var validation: MetricsValidation { state.withLock { $0.validation } }

    /// Whether `app_label` is set: what helps against collisions depends on it.
    public var hasAppLabel: Bool {
        get { isLabelled.load(ordering: .relaxed) }
        set { isLabelled.store(newValue, ordering: .relaxed) }
    }

    /// The series that collide, as the last search found them; `nil` before the first search has ended.
    public var collisions: Collisions? { document.collisions }

    /// `collisions` as they are sent.
    var document: CollisionsDocument { state.withLock { $0.found } }

    /// How many apps wait for a check, removed ones included.
    var waitingCount: Int { state.withLock { $0.waiting.count } }

    /// Records what has changed in the store.
    public func collect(at now: Instant) {
        guard validation != .off else { return }
        let unchecked = store.takeUnchecked()
        let generation = store.generation
        state.withLock { state in
            state.waiting.removeAll { $0 == nil }
            if state.waiting.count > 2 * store.count + Self.removedApps { store.dropRemoved(from: &state.waiting) }
            state.waiting += unchecked
            state.next = 0
            if state.changed == nil, state.search == nil, generation != state.lastSearch?.generation { state.changed = now }
        }
    }

    /// Does one due step: checks one app, or continues a search.
    public func next(at now: Instant) -> Step {
        // Under a load that is too large, some app is always due, so the search gets every second step.
        let isTurnOfSearch = state.withLock { state in
            defer { state.wasCheck = false }
            return state.wasCheck
        }
        if isTurnOfSearch, let search = takeSearch(at: now) { return .done(step(search)) }
        if let (record, app, wasInvalid) = takeDue(at: now) {
            state.withLock { $0.wasCheck = true }
            return .done(check(record, app, wasInvalid: wasInvalid))
        }
        return takeSearch(at: now).map { .done(step($0)) } ?? .idle
    }

    // MARK: Apps

    private func takeDue(at now: Instant) -> (AppRecord, StoredApp, wasInvalid: Bool)? {
        let earliest = now.advanced(by: .zero - Self.checkInterval)
        return state.withLock { state in
            while state.next < state.waiting.count {
                defer { state.next += 1 }
                guard let record = state.waiting[state.next] else { continue }
                switch store.beginCheck(of: record, at: now, ifNotAfter: earliest) {
                case .tooEarly: break
                case .none: state.waiting[state.next] = nil
                case .app(let app, let wasInvalid):
                    state.waiting[state.next] = nil
                    return (record, app, wasInvalid)
                }
            }
            return nil
        }
    }

    private func check(_ record: AppRecord, _ app: StoredApp, wasInvalid: Bool) -> Event? {
        let mode = validation
        guard mode != .off else { return nil }
        let validator = Validator(isKnownUTF8: true, refusesProxySeries: mode == .refuse)
        let survey = app.entry.exposition.buffer.withUnsafeReadableBytes { Survey(of: $0, with: validator, isStored: true) }
        let count = max(1, store.count)
        let found = AppCheck(survey, maxFindings: min(Findings.limit, max(1, Self.maxFindings / count)))
        store.setCheck(found, of: record, for: app)
        guard wasInvalid == found.isValid else { return nil }
        return found.isValid ? .becameValid(app.name) : .becameInvalid(app.name, error: found.firstError ?? "")
    }

    // MARK: Collisions

    /// The search in progress, or a new one that is due. Its owner calls `step`.
    func takeSearch(at now: Instant) -> Search? { state.withLock { $0.takeSearch(at: now, store) } }

    /// Looks at one app, or ends the search.
    func step(_ search: Search) -> Event? {
        var search = search
        if search.index < search.names.count {
            look(at: search.names[search.index], in: &search)
            search.index += 1
        } else if !search.isListing, search.found.endCount() {
            search.isListing = true
            search.index = 0
        } else {
            return end(search)
        }
        state.withLock { if $0.validation == search.validation { $0.search = search } }
        return nil
    }

    private func look(at name: AppName, in search: inout Search) {
        guard let exposition = store.app(named: name)?.exposition else { return }
        exposition.buffer.withUnsafeReadableBytes { text in
            if search.isListing { search.found.list(text, of: name.description) } else { search.found.count(text) }
        }
    }

    private func end(_ search: Search) -> Event? {
        let collisions = search.found.result
        let found = CollisionsDocument(of: collisions)
        let hadSome = state.withLock { state -> Bool? in
            // The mode has changed during the search, so what it has found does not count.
            guard state.validation == search.validation else { return nil }
            defer { state.found = found }
            // Under the lock: `setValidation` sets it after it has changed the mode.
            metrics.setCollidingSeries(collisions.count)
            return (state.found.collisions?.count ?? 0) > 0
        }
        guard let hadSome else { return nil }
        let count = collisions.count ?? 0
        if count > 0, !hadSome {
            // One that several apps expose, if there is one: its remedy is the simplest.
            let example = collisions.listed.first { $0.apps.count > 1 } ?? collisions.listed.first
            return .collisionsBegan(count: count, example: example?.text ?? "", apps: example?.apps ?? [])
        }
        return count == 0 && hadSome && collisions.count != nil ? .collisionsEnded : nil
    }
}

extension MetricsChecker.State {
    /// The search in progress, or a new one that is due.
    fileprivate mutating func takeSearch(at now: Instant, _ store: MetricStore) -> MetricsChecker.Search? {
        if let search {
            self.search = nil
            return search
        }
        guard let changed, now >= changed.advanced(by: MetricsChecker.searchDelay) else { return nil }
        if let lastSearch, now < lastSearch.instant.advanced(by: MetricsChecker.searchInterval) { return nil }
        lastSearch = (now, store.generation)
        self.changed = nil
        return MetricsChecker.Search(validation: validation, names: store.names().sorted())
    }
}
