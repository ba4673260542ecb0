/// How one poll ended.
public enum PollOutcome: Sendable {
    /// A complete 200, valid UTF-8 without NUL, within timeout and limit.
    case success(Exposition)
    /// The reason, for the log and `/apps`; it contains no secret.
    case failure(reason: String)
}

/// Whether a target answers. It reports only changes, so that a target that fails for a day causes one log line.
public struct PollHealth: Equatable, Sendable {
    /// What one more outcome means.
    public enum Change: Equatable, Sendable {
        /// It answered, or had never been polled, and now fails.
        case becameFailing(reason: String)
        /// It still fails, but for another reason. This is not a change of state.
        case failsDifferently(reason: String)
        /// It failed and now answers.
        case recovered
    }

    private enum State: Equatable {
        case unknown
        case ok
        case failing(reason: String)
    }

    private var state = State.unknown

    /// A target not polled yet.
    public init() {}

    /// Adds the next outcome.
    /// - Returns: `nil` without a change; the first success of a target is not a change.
    public mutating func update(_ outcome: PollOutcome) -> Change? {
        switch (state, outcome) {
        case (.ok, .success):
            return nil
        case (.unknown, .success):
            state = .ok
            return nil
        case (.failing, .success):
            state = .ok
            return .recovered
        case (.failing(let before), .failure(let reason)):
            guard before != reason else { return nil }
            state = .failing(reason: reason)
            return .failsDifferently(reason: reason)
        case (.unknown, .failure(let reason)), (.ok, .failure(let reason)):
            state = .failing(reason: reason)
            return .becameFailing(reason: reason)
        }
    }
}
