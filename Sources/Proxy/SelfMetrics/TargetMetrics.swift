import Synchronization

/// The counters of one target's polls.
public final class TargetMetrics: Sendable {
    struct Sample {
        var name: AppName
        /// Stored as text: `target` alone, and with each result.
        var labels: (target: String, success: String, failure: String)
        var isUp = false
        /// In nanoseconds; `nil` before the first poll has ended.
        var duration: Int64?
        /// When the client certificate for it expires, in seconds since 1970-01-01 UTC; `nil` without one.
        var certificateNotAfter: Int64?
        var successes = 0
        var failures = 0

        init(name: AppName) {
            self.name = name
            labels = Sample.labels(name)
        }

        static func labels(_ name: AppName) -> (target: String, success: String, failure: String) {
            let name = name.description
            return (
                ExpositionWriter.labels(("target", name)), ExpositionWriter.labels(("target", name), ("result", "success")),
                ExpositionWriter.labels(("target", name), ("result", "failure"))
            )
        }
    }

    private let state: Mutex<Sample>

    init(name: AppName) { state = Mutex(Sample(name: name)) }

    /// A poll has ended.
    /// - Parameter outcome: the recorded outcome.
    public func ended(_ outcome: PollOutcome, after duration: Duration) {
        let nanoseconds = duration.wholeNanoseconds
        state.withLock { state in
            state.duration = nanoseconds
            switch outcome {
            case .success:
                state.isUp = true
                state.successes += 1
            case .failure:
                state.isUp = false
                state.failures += 1
            }
        }
    }

    /// Sets when the client certificate for the target expires.
    /// - Parameter notAfter: seconds since 1970-01-01 UTC; `nil` without a client certificate.
    public func setCertificate(notAfter: Int64?) {
        state.withLock { $0.certificateNotAfter = notAfter }
    }

    /// Renames the target. The counts continue.
    func rename(to name: AppName) {
        state.withLock { state in
            guard state.name != name else { return }
            state.name = name
            state.labels = Sample.labels(name)
        }
    }

    func sample() -> Sample { state.withLock { $0 } }
}
