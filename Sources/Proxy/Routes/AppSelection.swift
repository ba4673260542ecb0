/// What `?app=` picks of all apps: those known of the ones named, in order of name, each once.
enum AppSelection {
    /// At least one of them is fresh.
    case fresh([AppEntry])
    /// Known, but each expired, failing now or never answered: Prometheus's own `up` shall be 0.
    case stale([AppEntry])
    /// None of the names is that of an app.
    case unknown

    /// - Parameter lookUp: those of the names that are known, in their order.
    init(of names: [String], lookUp: ([AppName]) -> [AppEntry]) {
        // Text that is no valid name cannot be that of an app.
        let known = lookUp(Set(names.compactMap(AppName.init)).sorted())
        if known.isEmpty {
            self = .unknown
        } else {
            self = known.contains(where: \.isFresh) ? .fresh(known) : .stale(known)
        }
    }
}

extension AppEntry {
    /// Whether its metrics are those of its last update or poll.
    fileprivate var isFresh: Bool { lastUpdate != nil && state == .ok }
}
