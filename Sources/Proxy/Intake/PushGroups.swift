import Exposition
import NIOCore
import Pushgateway
import Synchronization

/// The groups of the Pushgateway's API. Each is an app in the store. A push reads it, merges, and stores the result, with no other push to
/// the group in between. If the group is deleted meanwhile, or its app pushed in another way, the push begins a new group.
///
/// Used from any thread. Takes time in proportion to the push and to the group: a large one belongs on a pool.
public final class PushGroups: Sendable {
    /// The text of a group that an event loop reads and writes, in bytes: a millisecond or two.
    static let smallSize = 4 * UndecodedPush.inlineLimit

    /// The most that a group may take, in bytes: its text, and what is pushed as `FamilyCost` counts it. Reading and writing it takes much
    /// more memory, which the budget of its body has to hold too.
    static func limit(within body: BodyBytes) -> Int { body.budgetLimit / 16 }

    /// A push that does not wait for a lock.
    enum Outcome: Sendable {
        case applied
        /// Another thread is changing a group, or this one is large or becomes large: do it on a pool.
        case takesLonger
    }

    /// Each guards the groups whose names hash to it, from the reading to the storing.
    private final class Lock: Sendable {
        let held = Mutex(())
    }

    private static let lockCount = 64

    private let intake: Intake
    private let locks = (0..<lockCount).map { _ in Lock() }

    /// - Parameter intake: where the groups go.
    public init(_ intake: Intake) { self.intake = intake }

    /// Applies a push to a group.
    /// - Parameters:
    ///   - replacing: whether what was there goes (`PUT`), or only the families of the same names (`POST`).
    ///   - limit: the largest text of the group, in bytes.
    ///   - waits: whether the call may take long and wait for others.
    /// - Throws: why the push is refused. If the group exists, its failure time is set.
    func push(
        _ families: [MetricFamily], to key: GroupingKey, named name: AppName, replacing: Bool, from sender: Sender,
        through source: Source, limit: Int = .max, waits: Bool
    ) throws(Rejection) -> Outcome {
        let lock = locks[Int(UInt(bitPattern: name.hashValue) % UInt(Self.lockCount))]
        var result = Result<Outcome, Rejection>.success(.takesLonger)
        func work() {
            let group = intake.store.group(named: name, at: intake.now)
            guard waits || (group?.cost ?? 0) <= UndecodedPush.inlineLimit else { return }
            do throws(Rejection) {
                result = .success(
                    try apply(
                        families, to: key, name, group, replacing: replacing, from: sender, through: source, limit: limit, waits: waits))
            } catch {
                result = .failure(error)
            }
        }
        if waits { lock.held.withLock { _ in work() } } else { _ = lock.held.withLockIfAvailable { _ in work() } }
        return try result.get()
    }

    private func apply(
        _ families: [MetricFamily], to key: GroupingKey, _ name: AppName, _ stored: StoredApp?, replacing: Bool,
        from sender: Sender, through source: Source, limit: Int, waits: Bool
    ) throws(Rejection) -> Outcome {
        let before = stored.map { $0.entry.group?.unlabelled ?? $0.entry.exposition.buffer }
            .map { text in text.withUnsafeReadableBytes { PushGroup(key, text: $0) } }
        let time = Double(intake.now.time.nanoseconds) / 1e9
        do throws(Rejection) {
            let after: PushGroup
            do throws(FamilyFault) {
                after = try (before ?? PushGroup(key)).pushed(
                    families, replacing: replacing, at: time, limit: waits ? limit : min(limit, Self.smallSize))
            } catch {
                if case .tooLarge = error, !waits, limit > Self.smallSize { return .takesLonger }
                throw Rejection(error)
            }
            let exposition = after.exposition
            guard waits || !intake.isLong(Push(apps: [(name, exposition)])) else { return .takesLonger }
            if try intake.replace(stored, named: name, with: exposition, from: sender, through: source) { return .applied }
        } catch {
            if let stored, error.reason != .notOwner { intake.amend(stored, failedAt: time) }
            throw error
        }
        // Only pushes to the group make it a group again, and they wait.
        return try apply(families, to: key, name, nil, replacing: replacing, from: sender, through: source, limit: limit, waits: waits)
    }
}

extension Rejection {
    /// Why metric families are refused.
    init(_ fault: FamilyFault) {
        switch fault {
        case .malformed: self = .malformedFamilies(fault.description)
        case .inconsistent: self = .inconsistentFamilies(fault.description)
        case .tooLarge(let limit): self = .groupTooLarge(limit: ByteCount(limit))
        }
    }
}

extension PushGroup {
    fileprivate var exposition: Exposition {
        let text = text
        return Exposition(endingInNewline: .exactly(text.count) { $0.copyBytes(from: text) })
    }
}
