public import Exposition
public import NIOCore

/// One version of an app: its metrics, where they come from, and how its last update went. The store keeps it.
public struct AppEntry: Sendable {
    /// How its last update went.
    public enum State: Equatable, Sendable {
        case ok
        /// A polled app whose last poll failed, and why.
        case failing(reason: String)
        /// Not updated for `expire_after`: its metrics are gone; of a polled app, why its last poll failed, if it did.
        case expired(error: String?)
    }

    /// Its name.
    public var name: AppName
    /// The receiver that it came through, or the target that it was polled from.
    public var source: Source
    /// The peer that pushed it; `nil` for a polled app.
    public var sender: Sender?
    /// When its metrics were last replaced; `nil` for a target that never answered.
    public var lastUpdate: Moment?
    /// Its metrics; empty for a target that never answered, and once expired.
    public var exposition: Exposition
    /// How its last update went.
    public var state: State
    /// Whether its metrics were taken out, because Prometheus would not read them and `validate` was `refuse`. So it stays until its next
    /// successful update.
    public var isWithheld = false
    /// What is polled for it; `nil` for a pushed app.
    public var target: TargetURL?
    /// What makes it a group of the Pushgateway's API; `nil` for any other app.
    public var group: PushedGroup?
    /// What a check of its metrics has found; `nil` while they have not been checked.
    public var check: AppCheck?
    /// Whether the check is that of the metrics before these, which have not been checked yet.
    var isCheckOld = false

    /// An app made of its parts.
    public init(
        name: AppName, source: Source, sender: Sender? = nil, lastUpdate: Moment?, exposition: Exposition, state: State
    ) {
        self.name = name
        self.source = source
        self.sender = sender
        self.lastUpdate = lastUpdate
        self.exposition = exposition
        self.state = state
    }
}

extension AppEntry {
    /// An app of a target, without metrics yet.
    init(name: AppName, polling target: TargetURL, lastUpdate: Moment?) {
        self.init(
            name: name, source: .poll(endpoint: target.endpoint), lastUpdate: lastUpdate, exposition: .empty, state: .ok)
        self.target = target
    }
}

/// An app that is a group of the Pushgateway's API: the next push may be merged with its metrics as they were sent. A class, so that an
/// entry grows by one word.
public final class PushedGroup: Sendable {
    /// The metrics before labels were set on them; `nil` when they are exposed as they were sent.
    public let unlabelled: ByteBuffer?

    /// A group whose metrics were these before labels were set on them.
    public init(unlabelled: ByteBuffer?) { self.unlabelled = unlabelled }

    /// Bytes that it takes beside what is exposed.
    var size: Int { unlabelled?.readableBytes ?? 0 }
}

/// The condition of an app: one word for the table, JSON, the page and its address. Conditions that need attention come first.
public enum AppCondition: String, CaseIterable, Sendable {
    /// A target whose last poll failed.
    case failing
    /// Not updated for `expire_after`.
    case expired
    /// Prometheus would not read its metrics.
    case invalid
    /// A target whose first poll has not ended.
    case waiting
    case ok

    /// Whether the text table marks the app with the word.
    var isMarkedInTable: Bool {
        switch self {
        case .failing, .expired, .invalid: true
        case .waiting, .ok: false
        }
    }

    /// The colour of the word on the page: `bad`, `warn`, `soft` or `fine`.
    var tone: StaticString {
        switch self {
        case .failing, .invalid: "bad"
        case .expired: "warn"
        case .waiting: "soft"
        case .ok: "fine"
        }
    }

    /// Its place in the order of attention.
    var rank: Int { AppCondition.allCases.firstIndex(of: self) ?? 0 }
}

extension AppEntry {
    /// The condition of the app: expired wins over failing, failing over invalid.
    public var condition: AppCondition {
        switch state {
        case .ok where lastUpdate == nil: .waiting
        case .ok: isWithheld || check?.isValid == false ? .invalid : .ok
        case .failing: .failing
        case .expired: .expired
        }
    }

    /// Where its metrics come from, as the page shows it: of a target its URL, without the query, which may hold a secret.
    var origin: String {
        guard let target else { return source.description }
        let url = target.description
        guard let query = url.firstIndex(of: "?") else { return url }
        return "\(url[..<query])?…"
    }

    /// Why its last poll failed, or what is wrong with its metrics.
    public var error: String? {
        switch state {
        case .ok where isWithheld: check?.firstError ?? "withheld by an earlier run of exporter-proxy, until its next push"
        case .ok: check?.firstError
        case .failing(let reason): reason
        case .expired(let error): error
        }
    }

    /// Whether its metrics are those of its last update or poll.
    var isFresh: Bool { lastUpdate != nil && state == .ok && !isWithheld }

    /// The condition as a sentence about the app, printable and without its name: `has not answered yet`.
    var sentence: String {
        let reason = error.map { ": \(PrintableText($0).text)" } ?? ""
        return switch condition {
        case .ok: "is up to date"
        case .waiting: "has not answered yet"
        case .invalid: "has metrics that Prometheus would not read\(reason)"
        case .failing: "is failing\(reason)"
        case .expired: "has expired: no update since \(lastUpdate?.time.tableText ?? "its start")"
        }
    }
}

/// What a check of one app's metrics has found. A class, so that an entry does not grow by it.
public final class AppCheck: Equatable, Sendable {
    /// Samples in the metrics.
    public let samples: Int
    /// Families in the metrics.
    public let families: Int
    /// The first findings, in order of their place in the text.
    public let findings: [Finding]
    /// How many findings there are in all.
    public let findingCount: Int

    /// A check made of its parts.
    public init(samples: Int, families: Int, findings: [Finding], findingCount: Int) {
        self.samples = samples
        self.families = families
        self.findings = findings
        self.findingCount = findingCount
    }

    /// What a survey has found.
    /// - Parameter maxFindings: how many findings are kept, errors before warnings; at least one.
    init(_ survey: Survey, maxFindings: Int) {
        samples = survey.samples
        families = survey.families
        let kept = survey.findings.kept
        let errors = kept.filter { $0.severity == .error }
        let chosen = errors + kept.filter { $0.severity == .warning }
        findings = kept.count <= maxFindings ? kept : Array(chosen.prefix(maxFindings))
        findingCount = survey.findings.count
    }

    /// Whether both say the same.
    public static func == (a: AppCheck, b: AppCheck) -> Bool {
        a.samples == b.samples && a.families == b.families && a.findingCount == b.findingCount && a.findings == b.findings
    }

    /// Whether Prometheus would read the metrics.
    public var isValid: Bool { !findings.contains { $0.severity == .error } }

    /// The first fault, with its place.
    var firstError: String? {
        findings.first { $0.severity == .error }?.sentence
    }
}

/// One version of an app in the store; replaced whole by the next one.
final class StoredApp: Sendable {
    /// Safe to share: only `keep` changes it, before the version is in the store and another thread can see it.
    nonisolated(unsafe) private(set) var entry: AppEntry
    /// The number in the store of the target that this version came from; `nil` for a pushed app.
    let targetNumber: Int?

    init(_ entry: AppEntry, targetNumber: Int?) {
        self.entry = entry
        self.targetNumber = targetNumber
    }

    var name: AppName { entry.name }
    /// Bytes of the metrics that are exposed.
    var size: Int { entry.exposition.size }
    /// Bytes that it takes: what `max_total_size` counts.
    var cost: Int { size + (entry.group?.size ?? 0) }

    /// Whether it takes one of `max_apps`: a target that never answered, or has expired, does not.
    var counts: Bool { entry.lastUpdate != nil && !(isExpired && targetNumber != nil) }

    var isExpired: Bool {
        if case .expired = entry.state { true } else { false }
    }

    /// Takes over what was found in the version before this one, until this one is checked. Called before the version is stored.
    func keep(_ check: AppCheck) {
        entry.check = check
        entry.isCheckOld = true
    }

    /// This version with something else in its entry.
    func with(_ change: (inout AppEntry) -> Void) -> StoredApp {
        var entry = entry
        change(&entry)
        return StoredApp(entry, targetNumber: targetNumber)
    }
}

/// An app's place in the store, from its first version to its removal.
///
/// `@unchecked Sendable`: `name` never changes. `node` and `slot` are used only under the store's builder lock, everything else only under
/// its state lock.
final class AppRecord: @unchecked Sendable {
    let name: AppName
    /// The version in force; `nil` once removed.
    var app: StoredApp?
    /// Its place among the records that the next snapshot takes; `nil` while it is not one of them.
    var changedPlace: Int?
    /// Whether a snapshot has taken any version of it.
    var wasTaken = false
    /// Whether it waits for a check of its metrics.
    var isUnchecked = false
    /// When its metrics were last checked.
    var lastCheck: Instant?
    /// Whether metrics before those that wait for a check were invalid.
    var wasInvalid = false
    /// Its place in the expiry queue; `nil` while it does not wait there.
    var expiryPlace: Int?
    /// Its place among the expired apps; `nil` unless it is one that makes room for others.
    var expiredPlace: Int?
    /// The chunk's node that holds this app, and where; `nil` before the builder has placed it, never read after the removal.
    unowned var node: ChunkNode?
    var slot = 0

    init(name: AppName, app: StoredApp) {
        self.name = name
        self.app = app
    }
}
