import NIOCore

@testable import Proxy

extension Timestamp {
    /// This time on a machine whose clock of ages shows the same number: for tests in which no clock is set.
    var moment: Moment { Moment(time: self, instant: Instant(nanoseconds: nanoseconds)) }

    func advanced(by duration: Duration) -> Timestamp {
        Timestamp(nanoseconds: Instant(nanoseconds: nanoseconds).advanced(by: duration).nanoseconds)
    }
}

extension MetricStore {
    func apply(_ push: Push, from source: Source, at time: Timestamp) throws(Rejection) {
        try apply(push, from: source, at: time.moment)
    }

    @discardableResult
    func record(_ outcome: PollOutcome, for target: TargetURL, at time: Timestamp) -> PollOutcome {
        record(outcome, for: target, at: time.moment)
    }

    func snapshot(at time: Timestamp) -> Snapshot { snapshot(at: time.moment) }

    func apps(named names: [AppName], at time: Timestamp) -> [AppEntry] { apps(named: names, at: time.moment) }
}

// What tests look at and the program does not need.

extension MetricStore {
    func register(_ target: Target) { change(unregistering: [], registering: [target]) }

    func unregister(_ url: TargetURL) { change(unregistering: [url], registering: []) }
}

extension Snapshot {
    func entry(named name: AppName) -> AppEntry? { entries.first { $0.name == name } }

    var gzipPieces: (pieces: [ByteBuffer], size: Int) {
        let body = compressed.body
        return (body.pieces, body.size)
    }

    var uncompressedWork: Int { chunks.reduce(0) { $0 + ($1.content.needsCompression ? $1.content.size : 0) } }

    var unwrittenApps: Int { chunks.reduce(0) { $0 + ($1.derived.isMissing ? $1.apps.count : 0) } }
}
