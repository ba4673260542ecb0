public import Exposition
import NIOCore
import Synchronization

/// Checks the metrics of apps after they are stored: what `/apps` says of them, and which series collide.
///
/// One thread calls `collect` and then `next` again and again; everything else may be called from any thread. Work comes in steps, each of
/// which is one text, so that the caller can spread it over time.
public final class MetricsChecker: Sendable {
    /// What a step has found out and the log should tell.
    public enum Event: Equatable, Sendable {
        /// The app was valid or not checked before; the first error.
        case becameInvalid(AppName, error: String)
        /// The app was invalid before.
        case becameValid(AppName)
        /// No series collided before; one of them, and two of its apps.
        case collisionsBegan(count: Int, example: String, apps: [String])
        /// No series collides any more.
        case collisionsEnded
    }

    /// What comes after a step.
    public enum Step: Equatable, Sendable {
        /// There was something to do.
        case done(Event?)
        /// There is nothing to do yet.
        case idle
    }

    /// An app is checked at most once in this time.
    static let checkInterval = Duration.seconds(1)
    /// Collisions are looked for at most once in this time.
    static let searchInterval = Duration.seconds(60)
    /// A search begins this long after a change, so that it sees what comes together.
    static let searchDelay = Duration.seconds(2)
    /// Findings that are kept of all apps together, if there are fewer apps than this: at least one for each.
    static let maxFindings = 20_000

    private let store: MetricStore
    private let metrics: SelfMetrics
    private let state = Mutex(State())

    fileprivate struct State {
        var validation = MetricsValidation.off
        /// Apps that wait for a check; each once.
        var waiting: [AppRecord] = []
        /// Where the search for one that is due goes on.
        var next = 0
        var search: Search?
        /// When the last search began, and what the store had seen then.
        var lastSearch: (instant: Instant, generation: UInt64)?
        /// When a change was first noticed that no search has seen.
        var changed: Instant?
        var collisions: Collisions?
    }

    /// A search for collisions that is under way.
    fileprivate struct Search {
        var names: [AppName]
        var index = 0
        var isListing = false
        var found = CollisionSearch()
    }

    /// A checker of this store's apps, which does nothing before its first `setValidation`.
    public init(store: MetricStore, metrics: SelfMetrics) {
        self.store = store
        self.metrics = metrics
    }

    /// What is checked. With `off` nothing is, and what was found is forgotten.
    public func setValidation(_ validation: MetricsValidation) {
        let hasChanged = state.withLock { state in
            guard state.validation != validation else { return false }
            let collisions = validation == .off ? nil : state.collisions
            state = State()
            state.validation = validation
            state.collisions = collisions
            return true
        }
        guard hasChanged else { return }
        store.setValidation(validation)
        if validation == .off { metrics.setCollidingSeries(nil) } else if collisions == nil { metrics.setCollidingSeries(0) }
    }

    /// What happens to invalid metrics.
    public var validation: MetricsValidation { state.withLock { $0.validation } }

    /// The series that collide, as the last search found them; `nil` before the first search has ended.
    public var collisions: Collisions? { state.withLock { $0.collisions } }

    /// Notes what has changed in the store.
    public func collect(at now: Instant) {
        guard validation != .off else { return }
        let unchecked = store.takeUnchecked()
        let generation = store.generation
        state.withLock { state in
            state.waiting += unchecked
            state.next = 0
            if state.changed == nil, state.search == nil, generation != state.lastSearch?.generation { state.changed = now }
        }
    }

    /// Takes one step of what is due: checks one app, or goes on with a search.
    public func next(at now: Instant) -> Step {
        if let (record, app) = takeDue(at: now) { return .done(check(record, app)) }
        return search(at: now)
    }

    // MARK: Apps

    private func takeDue(at now: Instant) -> (AppRecord, StoredApp)? {
        let earliest = now.advanced(by: .zero - Self.checkInterval)
        return state.withLock { state in
            while state.next < state.waiting.count {
                let record = state.waiting[state.next]
                switch store.beginCheck(of: record, at: now, ifNotAfter: earliest) {
                case .tooEarly:
                    state.next += 1
                case .none:
                    state.drop()
                case .app(let app):
                    state.drop()
                    return (record, app)
                }
            }
            return nil
        }
    }

    private func check(_ record: AppRecord, _ app: StoredApp) -> Event? {
        let mode = validation
        guard mode != .off else { return nil }
        let validator = Validator(isKnownUTF8: true, refusesProxySeries: mode == .refuse)
        let survey = app.entry.exposition.buffer.withUnsafeReadableBytes { Survey(of: $0, with: validator, isStored: true) }
        let count = max(1, store.count)
        let found = AppCheck(survey, maxFindings: min(Findings.limit, max(1, Self.maxFindings / count)))
        let before = app.entry.check
        store.setCheck(found, of: record, for: app)
        switch (before?.isValid ?? true, found.isValid) {
        case (true, false): return .becameInvalid(app.name, error: found.firstError ?? "")
        case (false, true): return .becameValid(app.name)
        default: return nil
        }
    }

    // MARK: Collisions

    private func search(at now: Instant) -> Step {
        guard var search = state.withLock({ $0.takeSearch(at: now, store) }) else { return .idle }
        guard search.index < search.names.count else {
            if !search.isListing, search.found.endCount() {
                search.isListing = true
                search.index = 0
                state.withLock { $0.search = search }
                return .done(nil)
            }
            return .done(end(search.found.result))
        }
        let name = search.names[search.index]
        search.index += 1
        if let exposition = store.app(named: name)?.exposition {
            exposition.buffer.withUnsafeReadableBytes { text in
                if search.isListing { search.found.list(text, of: name.description) } else { search.found.count(text) }
            }
        }
        state.withLock { $0.search = search }
        return .done(nil)
    }

    private func end(_ collisions: Collisions) -> Event? {
        let before = state.withLock { state in
            defer { state.collisions = collisions }
            return state.collisions
        }
        metrics.setCollidingSeries(collisions.count)
        let hadSome = (before?.count ?? 0) > 0
        let count = collisions.count ?? 0
        if count > 0, !hadSome {
            let example = collisions.listed.first
            return .collisionsBegan(count: count, example: example?.text ?? "", apps: example?.apps ?? [])
        }
        return count == 0 && hadSome && collisions.count != nil ? .collisionsEnded : nil
    }
}

extension MetricsChecker.State {
    /// Takes the record at `next` out.
    fileprivate mutating func drop() {
        waiting.swapAt(next, waiting.count - 1)
        waiting.removeLast()
    }

    /// The search that is under way, or a new one that is due.
    fileprivate mutating func takeSearch(at now: Instant, _ store: MetricStore) -> MetricsChecker.Search? {
        if let search {
            self.search = nil
            return search
        }
        guard let changed, now >= changed.advanced(by: MetricsChecker.searchDelay) else { return nil }
        if let lastSearch, now < lastSearch.instant.advanced(by: MetricsChecker.searchInterval) { return nil }
        lastSearch = (now, store.generation)
        self.changed = nil
        return MetricsChecker.Search(names: store.names().sorted())
    }
}
