import Exposition
import NIOCore
import Pushgateway
import Synchronization

/// The only way into the store for pushes and polls. What is checked or changed in metrics before they are stored belongs here, so that
/// no receiver and no target can go around it.
///
/// Used from any thread. Takes time in proportion to the bytes of the metrics: pushes above 64 KiB belong on a pool, and those for which
/// `isLong` is true.
public final class Intake: Sendable {
    /// Where the metrics go.
    public let store: MetricStore
    private let clock: @Sendable () -> Moment
    /// Which senders may push which apps; replaced whole.
    private let owners = Mutex(Owners.none)
    /// The rules in force; replaced whole.
    private let currentRules = Mutex(IntakeRules())
    /// Held from the making of a large labelled text to its storing: the store counts it only then.
    private let largeText = Mutex(())

    /// - Parameter clock: gives the moment of update that an app gets.
    public init(store: MetricStore, clock: @escaping @Sendable () -> Moment) {
        self.store = store
        self.clock = clock
    }

    /// Rules for what comes from now on, on open connections too.
    public func setOwners(_ owners: Owners) {
        self.owners.withLock { $0 = owners }
    }

    /// - Throws: `.notOwner` when `app` is not the sender's.
    public func checkOwner(of app: AppName, _ sender: Sender) throws(Rejection) {
        if let rejection = owners.withLock({ $0 }).rejection(of: app, from: sender) { throw rejection }
    }

    /// What is asked of metrics; new rules are for what comes from now on.
    public var rules: IntakeRules {
        get { currentRules.withLock { $0 } }
        set { currentRules.withLock { $0 = newValue } }
    }

    /// Applies all apps of a push, or none of them.
    /// - Parameters:
    ///   - sender: the peer that pushes; kept with each app.
    ///   - source: the receiver.
    /// - Throws: why the push is refused; what was stored stays.
    public func apply(_ push: Push, from sender: Sender, through source: Source) throws(Rejection) {
        let owners = owners.withLock { $0 }
        if !owners.isEmpty {
            for app in push.apps {
                if let rejection = owners.rejection(of: app.name, from: sender) { throw rejection }
            }
        }
        let rules = rules
        guard !rules.passesPushes else { return try store.apply(push, from: source, sender: sender, at: clock()) }
        try oneAtATime(push.size, rules.longestLabels(of: push)) { () throws(Rejection) in
            try store.apply(admitted(push, rules), from: source, sender: sender, at: clock())
        }
    }

    /// Stores the metrics of a group of the Pushgateway's API, as `apply` does with those of an app.
    /// - Parameter earlier: the version that the push was merged with; `nil` when the group is new.
    /// - Returns: `false`, with nothing stored, when `earlier` is no longer what the store has.
    func replace(
        _ earlier: StoredApp?, named name: AppName, with exposition: Exposition, from sender: Sender, through source: Source
    ) throws(Rejection) -> Bool {
        try checkOwner(of: name, sender)
        return try oneAtATime(exposition.size, rules.labels(of: name)) { () throws(Rejection) in
            let (admitted, group) = try admitted(name, exposition)
            let moment = clock()
            var entry = AppEntry(name: name, source: source, sender: sender, lastUpdate: moment, exposition: admitted, state: .ok)
            entry.group = group
            return try store.replace(earlier, with: entry, at: moment)
        }
    }

    /// Sets the time of the failure of a group, if it is still this version. Nothing else changes: a refused push neither sets nor removes
    /// labels, whatever the rules are now. The push has reserved memory for copies of the group.
    func amend(_ group: StoredApp, failedAt time: Double) {
        let exposition = Exposition(endingInNewline: group.entry.exposition.buffer.failed(at: time))
        let unlabelled = group.entry.group?.unlabelled?.failed(at: time)
        store.amend(group, with: exposition, group: PushedGroup(unlabelled: unlabelled))
    }

    private func admitted(_ name: AppName, _ exposition: Exposition) throws(Rejection) -> (Exposition, PushedGroup) {
        let rules = rules
        guard !rules.passesPushes else { return (exposition, PushedGroup(unlabelled: nil)) }
        do throws(IntakeRules.Refusal) {
            let admitted = try rules.admit(exposition, with: rules.labels(of: name), most: mostBytes)
            return (admitted, PushedGroup(unlabelled: admitted === exposition ? nil : exposition.buffer))
        } catch {
            switch error {
            // Without the place: it is one in the text of the group, not in what was sent.
            case .invalid(let finding): throw Rejection(FamilyFault.inconsistent(finding.message))
            case .tooLarge: throw .storeFull(limit: store.limits.maxTotalSize)
            }
        }
    }

    var now: Moment { clock() }

    /// Records the end of a poll: a success replaces the app's metrics, a failure only marks the app.
    /// - Returns: what was recorded; a success that is refused is recorded as the failure that is returned.
    @discardableResult
    public func record(_ outcome: PollOutcome, for target: TargetURL) -> PollOutcome {
        let rules = rules
        guard rules.validation != .off, case .success(let exposition) = outcome else {
            return store.record(outcome, for: target, at: clock())
        }
        let labels = rules.labels(of: target)
        return oneAtATime(exposition.size, labels) {
            let admitted: PollOutcome
            do throws(IntakeRules.Refusal) {
                admitted = .success(try rules.admit(exposition, with: labels, most: mostBytes))
            } catch {
                switch error {
                case .invalid(let finding): admitted = .failure(reason: finding.sentence)
                case .tooLarge: admitted = .failure(reason: Rejection.storeFull(limit: store.limits.maxTotalSize).line)
                }
            }
            return store.record(admitted, for: target, at: clock())
        }
    }

    /// What became of an app of an earlier run.
    public enum Restored: Sendable {
        case stored
        /// Prometheus would not read its metrics: it is listed, without them.
        case withheld
        /// It would pass a limit.
        case leftOut
    }

    /// Puts back a pushed app of an earlier run of the program, as it was then: with the labels, and at the age, that it had. With
    /// `validate = "refuse"` its metrics are checked first.
    /// - Parameter validation: of the configuration that is about to run.
    public func restore(_ app: AppEntry, _ validation: MetricsValidation) -> Restored {
        var app = app
        if validation == .refuse { app.exposition = app.exposition.withoutBlankLinesAlone }
        var result = Restored.stored
        if validation == .refuse, app.exposition.size > 0 {
            let survey = app.exposition.buffer.withUnsafeReadableBytes {
                Survey(of: $0, with: Validator(isKnownUTF8: true, refusesProxySeries: true), isStored: true)
            }
            let check = AppCheck(survey, maxFindings: Findings.limit)
            if !check.isValid {
                app.check = check
                app.exposition = .empty
                app.group = nil
                app.isWithheld = true
                result = .withheld
            }
        }
        return store.restore(app) ? result : .leftOut
    }

    /// The metrics of a push with labels up to this size, in bytes, are made before the store says whether it takes them.
    private static let smallText = 16 << 20

    /// No text is larger, in bytes: `ByteBuffer` counts with 32 bits.
    private static let largestText = Int(Int32.max)

    /// Labels are set on each line, so that short lines become many times as large. What the store would never take is not made.
    private var mostBytes: Int { min(max(store.limits.maxTotalSize.bytes, Self.smallText), Self.largestText) }

    /// The most bytes that metrics of `size` bytes of a pushed app have with its labels; 0 where they get none.
    func mostLabelled(_ size: Int, of app: AppName) -> Int {
        min(Self.mostLabelled(size, rules.labels(of: app)), mostBytes)
    }

    /// The most bytes that the metrics of a message have with its labels; 0 where they get none, or where the names are not decoded yet.
    public func mostLabelled(_ message: UndecodedPush) -> Int {
        guard case .decoded(let push) = message.content else { return 0 }
        return min(Self.mostLabelled(push.size, rules.longestLabels(of: push)), mostBytes)
    }

    /// Whether labels may make so much of a push that applying it takes too long for an event loop.
    public func isLong(_ push: Push) -> Bool {
        let rules = rules
        guard !rules.passesPushes else { return false }
        return Self.mostLabelled(push.size, rules.longestLabels(of: push)) > PushGroups.smallSize
    }

    private static func mostLabelled(_ size: Int, _ labels: [AddedLabels.Label]) -> Int {
        size == 0 || labels.isEmpty ? 0 : AddedLabels(labels).mostBytes(in: size)
    }

    /// Makes and stores one text at a time that its labels may make large. So texts that the store has not counted yet are together hardly
    /// larger than `mostBytes`. An event loop never waits here: what it stores is smaller.
    /// - Parameters:
    ///   - size: of the text without labels.
    ///   - labels: those that take the most bytes.
    private func oneAtATime<Result: Sendable, Failure>(
        _ size: Int, _ labels: @autoclosure () -> [AddedLabels.Label], _ body: () throws(Failure) -> Result
    ) throws(Failure) -> Result {
        guard size > PushGroups.smallSize, Self.mostLabelled(size, labels()) > Self.smallText else { return try body() }
        return try largeText.withLock { _ throws(Failure) in try body() }
    }

    private func admitted(_ push: Push, _ rules: IntakeRules) throws(Rejection) -> Push {
        var push = push
        var left = mostBytes
        for index in push.apps.indices {
            let (name, exposition) = push.apps[index]
            do throws(IntakeRules.Refusal) {
                let admitted = try rules.admit(exposition, with: rules.labels(of: name), most: left)
                push.apps[index].exposition = admitted
                left -= min(left, admitted.size)
            } catch {
                switch error {
                case .invalid(let finding): throw .invalidMetrics(app: name.description, finding)
                case .tooLarge: throw .storeFull(limit: store.limits.maxTotalSize)
                }
            }
        }
        return push
    }
}

/// What the configuration wants of metrics before they are stored (`[metrics]`, and the labels of targets).
public final class IntakeRules: Sendable {
    /// Whether metrics are checked, and what happens to those that Prometheus would not read.
    public let validation: MetricsValidation
    /// The name of the label that gets the app's name as its value.
    private let appLabel: String?
    private let targets: [TargetURL: TargetRule]

    private struct TargetRule {
        let name: AppName
        let labels: [AddedLabels.Label]
    }

    /// Nothing is looked at.
    public init() {
        validation = .off
        appLabel = nil
        targets = [:]
    }

    /// The rules of a configuration.
    public init(_ config: Config) {
        validation = config.metrics.validate
        appLabel = config.metrics.appLabel
        var targets: [TargetURL: TargetRule] = [:]
        for target in config.poll.targets {
            targets[target.url] = TargetRule(
                name: target.name, labels: target.labels.map { AddedLabels.Label(name: $0.name, value: $0.value) })
        }
        self.targets = targets
    }

    /// Whether pushed metrics are stored as they are.
    var passesPushes: Bool { validation != .refuse && appLabel == nil }

    /// The labels that a pushed app's samples get.
    func labels(of app: AppName) -> [AddedLabels.Label] {
        appLabel.map { [AddedLabels.Label(name: $0, value: app.description)] } ?? []
    }

    /// The labels of the app of a push whose labels take the most bytes.
    func longestLabels(of push: Push) -> [AddedLabels.Label] {
        guard appLabel != nil else { return [] }
        return push.apps.map(\.name).max { $0.description.utf8.count < $1.description.utf8.count }.map(labels(of:)) ?? []
    }

    /// The labels that a target's samples get.
    func labels(of target: TargetURL) -> [AddedLabels.Label] {
        guard let known = targets[target] else { return [] }
        return labels(of: known.name) + known.labels
    }

    /// Why metrics are refused.
    enum Refusal: Error {
        /// Their first error.
        case invalid(Finding)
        /// With labels they would be too large.
        case tooLarge
    }

    /// The metrics as they are stored. Metrics with an error that are not refused stay as they are.
    /// - Parameter most: the most bytes that they may have with labels.
    func admit(_ exposition: Exposition, with labels: [AddedLabels.Label], most: Int) throws(Refusal) -> Exposition {
        let refuses = validation == .refuse
        let exposition = refuses ? exposition.withoutBlankLinesAlone : exposition
        guard refuses || !labels.isEmpty, exposition.size > 0 else { return exposition }
        // What is stored has been found to be UTF-8 without NUL.
        let validator = Validator(isKnownUTF8: true, refusesProxySeries: refuses)
        let labelled: Exposition?
        do throws(Finding) {
            guard !labels.isEmpty else {
                if let error = exposition.buffer.withUnsafeReadableBytes({ validator.firstError(in: $0) }) { throw error }
                return exposition
            }
            // With too many labels the stored metrics are found invalid; without the new ones they would look valid.
            labelled = try exposition.labelled(AddedLabels(labels), validator, most: most, countsAdded: refuses)
        } catch {
            if refuses { throw .invalid(error) }
            return exposition
        }
        guard let labelled else { throw .tooLarge }
        return labelled
    }
}

extension ByteBuffer {
    /// The text of a group with this time of its failure.
    fileprivate func failed(at time: Double) -> ByteBuffer {
        let text = withUnsafeReadableBytes { PushGroup.failed($0, at: time) }
        return .exactly(text.count) { $0.copyBytes(from: text) }
    }
}

extension Exposition {
    /// No metrics, if there is nothing but blank lines: otherwise many apps could make a row of them that ends Prometheus before 3.14.
    fileprivate var withoutBlankLinesAlone: Exposition {
        size > 0 && buffer.withUnsafeReadableBytes(Validator.isBlank) ? .empty.containing(instances) : self
    }

    /// The same metrics with these labels on each sample; `nil` when they would have more than `most` bytes.
    /// - Parameter countsAdded: as `Labelling` says.
    fileprivate func labelled(
        _ labels: AddedLabels, _ validator: Validator, most: Int, countsAdded: Bool
    ) throws(Finding) -> Exposition? {
        var result: Result<Exposition?, Finding>?
        buffer.withUnsafeReadableBytes { text in
            result = Result { () throws(Finding) in
                try Labelling(of: text, adding: labels, with: validator, most: most, countsAdded: countsAdded)
            }
            .map { labelling in
                guard labelling.size <= most else { return nil }
                guard labelling.samples > 0 else { return self }
                return Exposition(replacing: self, size: labelling.size) { labelling.write(text, to: $0) }
            }
        }
        guard let result else { return self }
        return try result.get()
    }
}
